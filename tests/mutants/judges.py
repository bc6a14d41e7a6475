"""The tests that judge each file: those that are written about it, the quickest first.

A fault that none of them finds may still be found by another test.
"""

from typing import Final

_AUTHORITY: Final = (
    *("test_authority", "test_registers", "test_coupons", "test_command_bodies"),
    "test_entry_bytes",
)
_DECIDE: Final = (
    *("meter/decide/test_senders", "meter/decide/test_numbers", "meter/decide/test_records"),
    *("meter/decide/test_voids", "meter/decide/test_receipt", "meter/decide/test_steps"),
    "meter/decide/test_hostile_payloads",
)
_RULES: Final = (
    "test_state",
    "test_effects",
    "test_worked_examples",
    "test_capacity",
    *_DECIDE,
    *_AUTHORITY,
)
_KINDS: Final = (*_AUTHORITY, "test_strict", *_DECIDE)
_CLAIMS: Final = ("test_claims", "test_claim_model", "test_award_claims", "test_paying_articles")
_AWARDS: Final = ("test_awards", "test_sum_awards")
_MONITOR: Final = ("test_monitor", "test_monitor_forks", "test_monitor_command")
_RECEIPTS: Final = (
    *("meter/receipts/test_files", "meter/receipts/test_changes"),
    *("meter/receipts/test_years_later", "meter/receipts/test_service"),
)
_INTAKE: Final = (
    *("meter/intake/test_answers", "meter/intake/test_groups", "meter/intake/test_faults"),
    *("meter/intake/test_two_services", "meter/intake/test_restarts", "meter/intake/test_clients"),
)
_PAPERS: Final = ("audit/test_export", "audit/test_sample", "audit/test_report")
_AUDIT: Final = (
    *("test_audit_amounts", "test_audit_batches", "test_audit_capacity", "test_audit_receipts"),
    *("test_audit_commands", "test_audit", "test_audit_hostile", "test_audit_bytes"),
)
_SUMS: Final = (
    *("test_sums", "test_sum_coupons", "test_sum_contracts", "test_sum_capacity"),
    *("test_sum_glance", "test_sum_years", "test_sum_claims", "test_sum_awards"),
    *("test_awards", "test_award_claims"),
    *("test_budgets", "test_allocations", "test_periods", "test_policies", "test_contract_funds"),
    *("test_take", "test_purchases", "test_successions", "test_sum_bends"),
    *("test_sum_limits", "test_first_checks"),
)

# By path below the repository; of tests/ledger/ for ledger/, else of tests/meter/, unless the name
# of the folder stands before.
JUDGES: Final[dict[str, tuple[str, ...]]] = {
    "ledger/book.py": ("test_book", "test_log"),
    "ledger/bundle.py": ("test_bundle",),
    "ledger/canon.py": ("test_canon",),
    "ledger/cosign.py": ("test_cosign", "test_quorum"),
    "ledger/ed25519.py": ("test_ed25519",),
    "ledger/errors.py": ("test_book", "test_note", "test_quorum", "test_verify"),
    "ledger/files.py": ("test_files", "test_folder", "test_publish"),
    "ledger/folder.py": ("test_folder", "test_publish"),
    "ledger/folder_process.py": ("test_folder_process",),
    "ledger/following.py": ("test_following",),
    "ledger/log.py": ("test_log", "test_store"),
    "ledger/note.py": ("test_note", "test_ed25519"),
    "ledger/proof.py": ("test_proof",),
    "ledger/prove.py": ("test_damage", "test_verify"),
    "ledger/publish.py": ("test_publish",),
    "ledger/queries.py": ("test_queries",),
    "ledger/quorum.py": ("test_quorum",),
    "ledger/report.py": ("test_verify",),
    "ledger/roles.py": ("test_roles",),
    "ledger/seen.py": ("test_seen",),
    "ledger/store.py": (
        "test_store",
        *("meter/test_lease", "meter/test_database_roles", "meter/test_unconfirmed"),
    ),
    "ledger/tiles.py": ("test_tiles", "test_folder"),
    "ledger/tlog.py": ("test_tlog", "test_proof"),
    "ledger/verify.py": ("test_damage", "test_verify", "test_following"),
    "ledger/witnessing.py": ("test_witnessing",),
    "meter/intake.py": (
        *_INTAKE,
        *("test_pauses", "test_logs", "test_metrics", "test_clock"),
        *("test_http", "test_commands_http", "test_idempotency", "test_batches_http"),
        *("test_balances_http", "test_worked_examples_http"),
    ),
    "meter/rules/capacity.py": ("test_capacity", "test_worked_examples"),
    "meter/rules/commands.py": (*_KINDS, "test_kinds", "test_first_checks"),
    "meter/rules/contract_terms.py": ("test_amendments", "test_take", *_RULES),
    "meter/rules/decide.py": _RULES,
    "meter/rules/decide_command.py": (*_AUTHORITY, "test_invariants", "test_proposals"),
    "meter/rules/effects.py": (
        *_RULES,
        *("test_every_entry", "test_first_checks", "test_released"),
    ),
    "meter/rules/entries.py": (
        *_KINDS,
        "test_worked_examples",
        "test_kinds",
        "test_purchases",
        "test_first_checks",
    ),
    "meter/rules/evolve.py": (*_RULES, "test_persons", *_AWARDS),
    "meter/rules/measure.py": ("test_measure", *_RULES),
    "meter/rules/plain.py": ("test_plain",),
    "meter/rules/refusals.py": _DECIDE,
    "meter/rules/rating.py": ("test_rating", "test_worked_examples"),
    "meter/rules/salts.py": _DECIDE,
    "meter/rules/state.py": (
        *_RULES,
        *_AWARDS,
        "test_claims",
        "test_proposals",
        *("test_late_windows", "test_successions", "test_every_entry", "test_take"),
    ),
    "meter/rules/subjects.py": ("test_every_entry",),
    "meter/rules/terms_effect.py": (
        "test_amendments",
        "test_additions",
        "test_contract_funds",
        "test_every_entry",
        "test_released",
    ),
    "meter/rules/verified.py": ("test_verified", "test_dsse"),
    "meter/rules/kinds/amended_parties.py": ("test_amended_parties",),
    "meter/rules/kinds/amendments.py": ("test_amendments", "test_additions"),
    "meter/rules/kinds/awards.py": (*_AWARDS, "test_budgets", "test_award_claims"),
    "meter/rules/kinds/budgets.py": ("test_budgets", *_AWARDS),
    "meter/rules/kinds/allocations.py": ("test_allocations",),
    "meter/rules/kinds/periods.py": ("test_periods",),
    "meter/rules/kinds/pools.py": ("test_budgets", *_AWARDS, "test_policies"),
    "meter/rules/kinds/projects.py": (*_AWARDS, "test_award_claims"),
    "meter/rules/kinds/contracts.py": (
        *_KINDS,
        *("test_contract_funds", "test_successions", "test_amendments"),
    ),
    "meter/rules/kinds/coupons.py": (
        *_KINDS,
        *("test_effects", "test_worked_examples"),
        *("test_periods", "test_allocations", *_AWARDS),
    ),
    "meter/rules/kinds/funds.py": ("test_contract_funds",),
    "meter/rules/kinds/successions.py": ("test_successions",),
    "meter/rules/kinds/kind.py": (
        *_KINDS,
        *("test_policies", *_AWARDS, "test_budgets", "test_amended_parties", "test_purchases"),
    ),
    "meter/rules/kinds/purchases.py": ("test_purchases",),
    "meter/rules/purchases.py": ("test_purchases",),
    "meter/rules/summaries.py": ("test_summaries",),
    "meter/rules/kinds/summaries.py": ("test_summaries",),
    "meter/auditor/sum_summaries.py": ("test_summaries", "test_sum_bends"),
    "meter/rules/kinds/late_windows.py": ("test_late_windows",),
    "meter/rules/kinds/access_digests.py": ("test_access_digests",),
    "meter/rules/kinds/state_digests.py": ("test_state_digests",),
    "meter/rules/kinds/months.py": ("test_months", "test_disputes"),
    "meter/rules/kinds/disputes.py": ("test_disputes",),
    "meter/rules/month_book.py": ("test_months", "test_disputes"),
    "meter/rules/months.py": ("test_months", "test_snapshots"),
    "meter/rules/snapshot.py": ("test_snapshots", "test_state_digests"),
    "meter/auditor/sum_months.py": ("test_months",),
    "meter/auditor/sum_accesses.py": ("test_access_digests",),
    "meter/auditor/sum_disputes.py": ("test_disputes",),
    "meter/rules/kinds/parties.py": (*_KINDS, "test_weak_keys", "test_keys"),
    "meter/rules/kinds/service_keys.py": (*_KINDS, "test_keys"),
    "meter/rules/kinds/table.py": _KINDS,
    "meter/rules/kinds/usage.py": (*_RULES, "test_strict"),
    "meter/auditor/alarms.py": ("test_alarms",),
    "meter/auditor/alternative.py": ("test_what_if_figures", "test_what_if"),
    "meter/auditor/entry_check.py": ("test_entry_check",),
    "meter/auditor/evidence.py": ("test_monitor_branches", *_MONITOR),
    "meter/auditor/fetch.py": ("test_verification", *_MONITOR),
    "meter/auditor/log_keys.py": ("test_keys",),
    "meter/auditor/mirror.py": _MONITOR,
    "meter/auditor/monitor.py": ("test_monitor_branches", "test_monitor_upkeep", *_MONITOR),
    "meter/auditor/monitor_metrics.py": ("test_monitor_upkeep",),
    "meter/auditor/monitor_lines.py": ("test_chinese",),
    "meter/auditor/papers/access_log.py": ("test_access_digests",),
    "meter/auditor/papers/accounts.py": ("audit/test_export", "audit/test_audit_data"),
    "meter/auditor/papers/audit_data.py": ("audit/test_audit_data",),
    "meter/auditor/papers/books.py": ("audit/test_books", "audit/test_export"),
    "meter/auditor/papers/compare.py": ("audit/test_compare",),
    "meter/auditor/papers/csv_file.py": ("audit/test_export",),
    "meter/auditor/papers/evidence.py": ("audit/test_evidence", "audit/test_evidence_batches"),
    "meter/auditor/papers/export.py": ("audit/test_export",),
    "meter/auditor/papers/log.py": _PAPERS,
    "meter/auditor/papers/parquet_file.py": ("audit/test_export",),
    "meter/auditor/papers/pdf.py": ("audit/test_report_page", "audit/test_statement"),
    "meter/auditor/papers/period.py": _PAPERS,
    "meter/auditor/papers/report.py": ("audit/test_report",),
    "meter/auditor/papers/report_pdf.py": ("audit/test_report", "audit/test_report_page"),
    "meter/auditor/papers/report_words.py": ("audit/test_report",),
    "meter/auditor/papers/sample.py": ("audit/test_sample",),
    "meter/auditor/papers/sheet.py": ("audit/test_sample",),
    "meter/auditor/papers/statement.py": ("audit/test_statement",),
    "meter/auditor/papers/statement_pdf.py": ("audit/test_statement",),
    "meter/auditor/papers/statement_words.py": ("audit/test_statement",),
    "meter/auditor/papers/tables.py": ("audit/test_export", "audit/test_table_rows"),
    "meter/auditor/papers/target.py": ("audit/test_export",),
    "meter/auditor/papers/xlsx_file.py": ("audit/test_export",),
    "meter/auditor/receipt_check.py": _RECEIPTS,
    "meter/auditor/receipts.py": ("test_verdicts_shown", *_RECEIPTS),
    "meter/auditor/replay.py": (
        "test_signatures",
        "test_audit_bends",
        *_AUDIT,
        *_MONITOR,
    ),
    "meter/auditor/accepted.py": ("test_accepted",),
    "meter/auditor/ranges.py": ("test_ranges",),
    "meter/auditor/shares.py": ("test_shares",),
    "meter/auditor/sums.py": (*_SUMS, "test_amendments", "test_persons"),
    "meter/auditor/token_watch.py": ("test_tokens",),
    "meter/auditor/verdict.py": ("test_verdicts_shown", "test_verification"),
    "meter/auditor/what_if.py": ("test_what_if_figures", "test_what_if"),
    "meter/auditor/sum_meters.py": _SUMS,
    "meter/auditor/sum_records.py": _SUMS,
    "meter/auditor/sum_rules.py": _SUMS,
    "meter/auditor/sum_totals.py": _SUMS,
    "meter/auditor/sum_claims.py": ("test_sum_claims", "test_sum_bends", *_CLAIMS),
    "meter/auditor/sum_terms.py": (
        *("test_amendments", "test_additions", "test_sum_years", "test_contract_funds"),
        "test_sum_bends",
    ),
    "meter/auditor/sum_firms.py": ("test_successions", "test_sum_years", "test_sum_bends"),
    "meter/auditor/sum_persons.py": (
        *("test_persons", "test_proposals", "test_sum_bends", "test_first_checks"),
        *("test_sum_limits", "test_sum_claims"),
    ),
    "meter/rules/claim_book.py": (*_CLAIMS, "test_every_entry", "test_claim_states"),
    "meter/rules/items.py": (*_CLAIMS, "test_first_checks", "test_every_entry"),
    "meter/rules/payable.py": ("test_first_checks", *_CLAIMS),
    "meter/rules/people.py": ("test_persons", "test_proposals"),
    "meter/rules/two_persons.py": ("test_persons", "test_proposals", *_AUTHORITY),
    "meter/rules/kinds/claims.py": (*_CLAIMS, "test_claim_states"),
    "meter/rules/kinds/payments.py": (*_CLAIMS, "test_claim_states", "test_set_off"),
    "meter/rules/kinds/people.py": ("test_persons", *_AUTHORITY),
    "meter/rules/kinds/policies.py": ("test_policies", *_AUTHORITY),
    "meter/rules/kinds/proposals.py": ("test_proposals", "test_persons"),
    "meter/rules/kinds/recoveries.py": _CLAIMS,
    "meter/rules/kinds/reviews.py": (*_CLAIMS, "test_claim_states"),
}


# Of each file of kinds, beside its own.
_OF_KINDS: Final = ("test_kinds", "test_every_entry", "test_first_checks")


def judges_of(file: str) -> list[str]:
    """Return the test files that judge a file, each once."""
    folder = file.partition("/")[0]
    every = JUDGES[file] + (_OF_KINDS if file.startswith("meter/rules/kinds/") else ())
    names = [name if "/" in name else f"{folder}/{name}" for name in dict.fromkeys(every)]
    return [f"tests/{name}.py" for name in names]


def is_pure(file: str) -> bool:
    """Return whether no test that needs a database judges a file: others tell the same sooner."""
    return file.startswith(("meter/rules/", "meter/auditor/sum"))
