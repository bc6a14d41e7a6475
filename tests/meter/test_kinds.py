"""The table of kinds: what a kind says of itself, and how strictly its struct is read."""

from functools import reduce
from importlib.util import module_from_spec, spec_from_file_location
from operator import or_
from types import ModuleType
from typing import get_args

import msgspec
import pytest

from meter.rules import commands, entries
from meter.rules.kinds import service_keys, table
from meter.rules.kinds.table import BY_NAME, KINDS, KindName
from meter.wire import batch, stored_receipt, summary

MOVES_MONEY = {
    *("budget", "issue", "allocation", "withdrawal", "expiry", "amendment", "release", "void"),
    *("award", "award_change", "approval", "claim_revocation", "order", "payment_return"),
    "recovery",
}
BY_ONE_PERSON = {
    *("token_end", "proposal", "proposal_end", "revocation", "freeze"),
    *("enterprise", "contract", "project"),
    *("claim", "claim_check", "claim_end", "approval", "notice", "objection", "resolution"),
    *("claim_revocation", "order", "payment"),
}


def named(flag: str, value: object = True) -> set[str]:
    return {kind.name for kind in KINDS if getattr(kind, flag) == value}


def test_the_names_of_kinds_are_a_type_that_is_read_strictly():
    assert get_args(KindName) == tuple(BY_NAME)


def test_a_table_that_is_not_of_each_entry_once_is_refused_when_it_is_read(monkeypatch):
    def refusal(*left_out: type) -> str:
        left = [each for each in get_args(entries.AnyEntry) if each not in left_out]
        spec = spec_from_file_location("another_table", table.__file__)
        another = module_from_spec(spec)
        with monkeypatch.context() as patch:
            patch.setattr(entries, "AnyEntry", reduce(or_, left))
            with pytest.raises(TypeError) as error:
                spec.loader.exec_module(another)
        return str(error.value)

    differ = "AnyEntry and KINDS differ: "
    assert refusal(entries.LogKeyAdded) == f"{differ}{ {entries.LogKeyAdded} }"
    monkeypatch.setattr(service_keys, "LOG_KEY", service_keys.GENESIS)  # which is there twice
    assert refusal(entries.LogKeyAdded) == f"{differ}set()"


def test_a_command_that_moves_money_needs_an_idempotency_key_and_no_other():
    assert named("moves_money") == MOVES_MONEY


def test_records_and_usage_are_loaded_for_the_commands_that_need_them():
    assert named("names_record") == {"release", "void", "dispute"}
    assert named("names_numbers") == {"month_closing", "state_digest"}
    assert named("changes_terms") == {"amendment"}


def test_two_persons_give_each_command_but_those_that_are_named():
    assert named("persons", 0) == {"person_recovery", "access_digest", "state_digest"}
    assert named("persons", 1) == BY_ONE_PERSON
    assert named("persons", 2) == set(BY_NAME) - BY_ONE_PERSON - named("persons", 0)


def test_the_tables_keep_an_entry_its_rows_or_its_sums():
    own = ("batch", "usage", "purchase", "release", "void", "summary")
    assert {rows: named("rows", rows) for rows in own} == {rows: {rows} for rows in own}
    totals = {"issue", "allocation", "allotment", "withdrawal", "expiry", "month_list"}
    assert named("rows", "totals") == totals
    assert named("rows", "registration") == set(BY_NAME) - totals - {*own}


def test_an_enterprise_gives_the_commands_of_its_claims_and_months_alone():
    assert {kind.name for kind in KINDS if kind.firm} == {
        *("claim", "claim_end", "dispute", "month_confirmation")
    }


def structs(module: ModuleType) -> list[type[msgspec.Struct]]:
    every = (each for each in vars(module).values() if isinstance(each, type))
    return [
        each
        for each in every
        if issubclass(each, msgspec.Struct) and each.__module__ == module.__name__
    ]


# What is made here, and read from no bytes.
MADE = {"SignedBatch", "UsageFound", "SummaryTaken", "SummaryRejected"}


@pytest.mark.parametrize("module", [commands, entries, batch, stored_receipt, summary])
def test_a_field_that_nobody_knows_is_refused_wherever_bytes_are_read(module):
    found = structs(module)
    assert len(found) >= 3
    lax = {each.__name__ for each in found if not each.__struct_config__.forbid_unknown_fields}
    assert lax <= MADE
