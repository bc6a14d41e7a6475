"""The authority's commands: each refusal, each repetition, and the edges of every limit."""

import pytest
from msgspec import UNSET

from ledger.canon import MAX_ENTRY_BYTES, encode
from ledger.canon import decode as decode_canonical
from meter.rules import commands, entries
from meter.rules.commands import MAX_DEVICE_KINDS, fields_of, same_but_for_reason
from meter.rules.decide_command import response_to
from meter.rules.entries import RecordReleased, RecordVoided, UsageAccepted
from meter.rules.kinds.contracts import MAX_CONTRACTS_OF_YEAR
from meter.rules.kinds.table import BY_COMMAND, BY_ENTRY, command_of, read_entry
from meter.rules.measure import MAX_EVIDENCE
from meter.values.policy import shipped_text
from meter.values.problems import Problem
from meter.values.strict import decode
from meter.values.units import DAY_SECONDS, MICROSECONDS, parse_instant
from meter.wire.receipt import REASONS
from tests.books import (
    ALPHA,
    BETA,
    DAY,
    DEVICE,
    PROGRAMME,
    Books,
    day_number,
    figures,
    lifted,
    line,
    opened,
    policy_text,
    public_text,
    purchase,
    record,
    signer,
    summary,
    uscc_of,
    void,
)
from tests.papers import end_year, take_every_step

HOUR = ("2025-03-01T08:00:00+08:00", "2025-03-01T09:00:00+08:00")


def refusal(ask, *arguments, **changes) -> Problem:
    """Ask and be refused; nothing may change."""
    books: Books = ask.__self__
    before, count = figures(books.state), len(books.entries)
    with pytest.raises(Problem) as refused:
        ask(*arguments, **changes)
    assert (figures(books.state), len(books.entries)) == (before, count)
    return refused.value


def with_contract(policy: str | None = None, **changes) -> Books:
    books = opened(policy) if policy else opened()
    books.contract("A", **changes)
    return books


def use(books: Books, id_: str, contract: str, milli_devices: int) -> None:
    (result,) = books.post([record(id_, contract, *HOUR, milli_devices)])
    assert result.status == "accepted"


# Repetitions


def test_the_same_thing_asked_for_twice_is_the_first_entry():
    books = with_contract()
    count = len(books.entries)
    numbers = [
        books.activate(),
        books.provider(),
        books.key(),
        books.enterprise(),
        books.contract("A"),
    ]
    assert [books.entries[number].kind for number in numbers] == [
        "policy",
        "provider",
        "key",
        "enterprise",
        "contract",
    ]
    assert len(books.entries) == count


def test_another_reason_does_not_make_it_another_thing():
    books = with_contract()
    first = books.enterprise(BETA, reason="batch 1")
    assert books.enterprise(BETA) == first
    assert books.enterprise(BETA, reason="batch 2") == first
    assert books.entries[first].reason == "batch 1"
    assert books.entries[books.contract("A")].reason is UNSET


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("provider", {"name": "other"}),
        ("provider", {"uscc": uscc_of(7)}),
        ("provider", {"devices": {DEVICE: 1}}),
        ("provider", {"enlisted": {"batch": "2", "from": "2020-01-01", "until": "2030-01-01"}}),
        ("key", {"public_key": public_text(signer("another"))}),
        ("enterprise", {"name": "other"}),
        ("enterprise", {"founded_on": "2019-04-02"}),
        ("enterprise", {"applicant": "university"}),
        ("contract", {"amount": "1000000.01"}),
        ("contract", {"prices": {DEVICE: "4.51"}}),
        ("contract", {"ends": "2027-01-02"}),
        ("contract", {"related_party": True}),
        ("contract", {"max_devices": {}}),
        ("contract", {"contract_no": "HT-2"}),
        ("contract", {"follows": "B"}),
        ("contract", {"use": "inference"}),
    ],
)
def test_the_same_id_with_other_content_is_refused_and_names_the_entry(name, changes):
    books = with_contract()
    number = getattr(books, name)()
    problem = refusal(getattr(books, name), **changes)
    assert (problem.code, problem.status) == ("exists_differently", 409)
    assert problem.facts == {"entry": number}


def test_a_policy_version_has_one_content():
    books = opened()
    other = policy_text(version="2024-12", cap="1.00")
    assert refusal(books.activate, other).code == "exists_differently"


def test_the_same_key_for_another_provider_is_another_thing():
    books = opened()
    books.provider("sz", uscc=uscc_of(7))
    assert refusal(books.key, "pcl-1", "sz").code == "exists_differently"


# Policies and pools


def test_activating_a_policy_opens_a_pool_for_each_calendar_year_it_touches():
    books = opened()
    assert {year for _, year in books.state.pools} == {2024, 2025, 2026}
    assert books.entries[1].postings == [
        (f"treasury:{PROGRAMME}:{year}", f"pool:{PROGRAMME}:{year}", 50_000_000_000)
        for year in (2024, 2025, 2026)
    ]


def test_a_policy_must_be_of_the_programme_and_version_that_are_named():
    books = Books()
    for name, value in (("programme", "other"), ("version", "other")):
        fields = {"programme": PROGRAMME, "version": "test", "content": policy_text(), name: value}
        problem = refusal(books.ask, commands.ActivatePolicy, **fields)
        assert problem.code == "bad_policy"


def test_a_file_that_is_no_policy_is_a_bad_policy():
    problem = refusal(
        Books().ask, commands.ActivatePolicy, programme="x", version="1", content="x = \n"
    )
    assert (problem.code, problem.status) == ("bad_policy", 400)


def test_a_second_version_changes_the_pools_that_it_touches_and_leaves_the_others():
    books = with_contract()
    books.activate(policy_text(version="v2", starts="2026-01-01", ends="2028-01-01", pool="700.00"))
    pools = {year: pool.amount for (_, year), pool in books.state.pools.items()}
    whole = 50_000_000_000
    assert pools == {2024: whole, 2025: whole, 2026: 70_000, 2027: 70_000}
    assert books.entries[-1].postings == [
        (f"pool:{PROGRAMME}:2026", f"treasury:{PROGRAMME}:2026", whole - 70_000),
        (f"treasury:{PROGRAMME}:2027", f"pool:{PROGRAMME}:2027", 70_000),
    ]
    books.activate(policy_text(version="v3", pool="500000000.00"))
    assert books.entries[-1].postings == [
        (f"treasury:{PROGRAMME}:2026", f"pool:{PROGRAMME}:2026", whole - 70_000)
    ]


def test_a_pool_that_shrinks_below_what_was_issued_keeps_that_and_issues_no_more():
    books = with_contract()
    books.issue(2025, "100.00")
    books.activate(policy_text(version="v2", pool="99.98"))
    pool = books.state.pools[PROGRAMME, 2025]
    assert (pool.limit, pool.issued, pool.amount) == (9_998, 10_000, 10_000)
    problem = refusal(books.issue, 2025, "0.01")
    assert (problem.code, problem.detail) == ("pool_exceeded", "0.00 are left")
    books.withdraw(2025, "0.03")
    assert (pool.limit, pool.issued, pool.amount) == (9_998, 9_997, 9_998)
    assert books.entries[-1].postings == [
        (f"coupon:{PROGRAMME}:2025:{ALPHA}", f"pool:{PROGRAMME}:2025", 3),
        (f"pool:{PROGRAMME}:2025", f"treasury:{PROGRAMME}:2025", 2),
    ]
    books.issue(2025, "0.01")
    assert refusal(books.issue, 2025, "0.01").code == "pool_exceeded"


def test_a_contract_keeps_the_policy_under_which_it_was_registered():
    books = with_contract(lifted())
    books.activate(lifted(version="v2", standard=1_000))
    books.contract("B")
    books.issue(2025, "1000.00")
    use(books, "a", "A", 1_000)
    use(books, "b", "B", 1_000)
    assert [books.share(name, 2025).entitled for name in "AB"] == [225, 45]
    assert [books.state.contracts[name].registered.policy for name in "AB"] == ["test", "v2"]


OLD, NEW = ("2024-12-18", "2025-07-01"), ("2025-06-01", "2027-01-01")


@pytest.mark.parametrize(
    ("signed_on", "starts", "ends", "policy"),
    [
        ("2025-05-31", "2025-08-01", "2026-01-01", "old"),  # though its term is in the new one
        ("2025-06-01", "2025-06-02", "2026-01-01", "newest"),  # where both are in force
        ("2025-07-01", "2025-01-01", "2026-01-01", "new"),
        ("2024-12-17", "2024-12-01", "2026-01-01", "old"),  # signed before either
        ("2024-12-17", "2025-06-01", "2026-01-01", "newest"),
        ("2024-12-17", "2025-05-31", "2026-01-01", "old"),
    ],
)
@pytest.mark.parametrize("order", [("old", "new"), ("new", "old")])
def test_a_contract_has_the_policy_of_its_signing_else_the_first_of_its_term(
    signed_on, starts, ends, policy, order
):
    books = Books("2026-11-01T12:00:00+08:00")
    for version in order:
        begins, stops = {"old": OLD, "new": NEW}[version]
        books.activate(lifted(version=version, starts=begins, ends=stops))
    books.provider()
    books.enterprise()
    books.contract(signed_on=signed_on, starts=starts, ends=ends)
    in_force = order[-1] if policy == "newest" else policy
    assert books.state.contracts["A"].registered.policy == in_force


def test_a_contract_without_any_policy_at_its_signing_and_in_its_term_is_refused():
    books = opened(lifted(starts="2025-01-01", ends="2025-02-01"))
    for starts, ends in (("2024-12-01", "2025-01-01"), ("2025-02-01", "2025-03-01")):
        problem = refusal(books.contract, signed_on="2024-12-31", starts=starts, ends=ends)
        assert (problem.code, problem.status) == ("no_policy", 422)
    assert refusal(books.contract, signed_on="2025-02-01", starts="2025-02-01").code == "no_policy"
    books.contract("A", signed_on="2024-12-31", starts="2024-12-01", ends="2025-01-02")
    books.contract("B", signed_on="2025-01-31", starts="2025-02-01", ends="2025-03-01")


def test_the_limits_of_a_year_are_those_of_the_newest_policy_that_touches_it():
    books = with_contract(lifted())
    books.activate(lifted(version="v2", starts="2026-01-01", ends="2027-01-01", cap="10.00"))
    assert refusal(books.issue, 2026, "10.01").code == "cap_exceeded"
    books.issue(2026, "10.00")
    books.issue(2025, "10.01")


# Providers and keys


def test_one_organisation_is_one_provider():
    assert refusal(opened().provider, "sz").code == "role_conflict"


@pytest.mark.parametrize("until", ["2025-01-01", "2024-12-31"])
def test_an_enlistment_must_not_be_empty(until):
    enlisted = {"batch": "1", "from": "2025-01-01", "until": until}
    problem = refusal(opened().provider, "sz", uscc=uscc_of(7), enlisted=enlisted)
    assert problem.code == "bad_dates"


def test_a_further_enlistment_needs_its_provider_and_days():
    books = opened()
    ask, days = books.enlist, ("2025-06-01", "2026-06-01")
    assert refusal(ask, "b", 1, *days, "sz").code == "unknown_provider"
    # An unknown provider is refused before days in the wrong order.
    assert refusal(ask, "b", 1, *days[::-1], "sz").code == "unknown_provider"
    for ends in ("2025-06-01", "2025-05-31"):
        problem = refusal(ask, "b", 1, "2025-06-01", ends)
        assert (problem.code, problem.status) == ("bad_dates", 422)
    assert books.enlist("b", 1, *days) == len(books.entries) - 1


def test_a_known_enlistment_keeps_its_devices_and_its_begin_and_may_end_sooner_or_later():
    books = opened()
    first = books.enlist("b", {DEVICE: 4, "other": 2}, "2025-06-01", "2026-06-01")
    for devices, starts in (
        ({DEVICE: 4}, "2025-06-01"),
        ({DEVICE: 5, "other": 2}, "2025-06-01"),
        ({DEVICE: 4, "other": 2, "more": 1}, "2025-06-01"),
        ({DEVICE: 4, "other": 2}, "2025-05-31"),
    ):
        # Even where the end is the same.
        problem = refusal(books.enlist, "b", devices, starts, "2026-06-01")
        assert (problem.code, problem.status) == ("exists_differently", 409)
        assert f"entry {first} " in problem.detail
    devices = {"other": 2, DEVICE: 4}
    assert books.enlist("b", devices, "2025-06-01", "2026-06-01", reason="again") == first
    sooner = books.enlist("b", devices, "2025-06-01", "2025-07-01")
    assert books.enlist("b", devices, "2025-06-01", "2025-07-01") == sooner > first
    later = books.enlist("b", devices, "2025-06-01", "2026-06-01")
    assert later > sooner
    assert refusal(books.enlist, "b", devices, "2025-06-01", "2025-06-01").code == "bad_dates"


def test_the_first_enlistment_of_a_provider_is_one_like_the_others():
    books = opened()
    devices, number = {DEVICE: 10_000_000}, books.provider()
    assert books.enlist("2025-1", devices, "2020-01-01", "2030-01-01") == number
    assert refusal(books.enlist, "2025-1", 8, "2020-01-01", "2030-01-01").code == (
        "exists_differently"
    )
    assert books.enlist("2025-1", devices, "2020-01-01", "2025-02-01") > number
    assert books.provider() == number


def test_a_key_needs_its_provider():
    assert refusal(opened().key, "sz-1", "sz").code == "unknown_provider"


def test_a_public_key_is_registered_once():
    books = opened()
    problem = refusal(books.key, "pcl-2", public_key=public_text(signer("pcl-1")))
    assert problem.code == "exists_differently"


@pytest.mark.parametrize(
    "text",
    [
        "A" * 44,  # 33 bytes
        "A" * 42 + "==",  # 31 bytes
        "A" * 42 + "B=",  # bits that no byte uses
        "-" * 43 + "=",
        " " * 44,
        "é" * 44,
    ],
)
def test_a_public_key_is_canonical_base64_of_32_bytes(text):
    assert refusal(opened().key, "pcl-2", public_key=text).code == "malformed"


def test_a_key_is_revoked_once():
    books = opened()
    number = books.revoke()
    problem = refusal(books.revoke)
    assert (problem.code, problem.facts) == ("already_revoked", {"entry": number})
    assert refusal(books.revoke, "nobody").code == "not_found"


def test_a_revoked_key_stays_taken():
    books = opened()
    number = books.key()
    books.revoke()
    assert books.key() == number
    assert books.state.keys["pcl-1"].revoked is not None
    problem = refusal(books.key, "pcl-2", public_key=public_text(signer("pcl-1")))
    assert problem.code == "exists_differently"


# Contracts


def test_a_contract_needs_a_programme_an_enterprise_and_a_provider_in_that_order():
    books = Books()
    assert refusal(books.contract).code == "unknown_programme"
    books.activate()
    assert refusal(books.contract).code == "unknown_enterprise"
    books.enterprise()
    assert refusal(books.contract).code == "unknown_provider"
    books.provider()
    books.contract()
    assert refusal(books.contract, "B", programme="compute-coupon").code == "unknown_programme"


@pytest.mark.parametrize("ends", ["2025-01-01", "2024-12-31"])
def test_a_term_must_not_be_empty(ends):
    assert refusal(opened().contract, starts="2025-01-01", ends=ends).code == "bad_dates"


def field_of(problem: Problem) -> tuple[str, object]:
    assert problem.status == {"bad_dates": 422, "looks_alike": 409, "malformed": 400}[problem.code]
    return problem.code, problem.facts["field"]


def test_a_contract_cannot_be_signed_before_its_enterprise_was_founded():
    books = opened()
    books.enterprise(BETA, founded_on="2024-12-01")
    problem = refusal(books.contract, enterprise=BETA, signed_on="2024-11-30")
    assert field_of(problem) == ("bad_dates", "signed_on")
    books.contract(enterprise=BETA, signed_on="2024-12-01")


def test_nothing_is_signed_or_founded_on_a_day_that_has_not_begun_in_shanghai():
    books = opened().at("2025-03-01T23:59:59+08:00")
    problem = refusal(books.contract, signed_on="2025-03-02")
    assert field_of(problem) == ("bad_dates", "signed_on")
    problem = refusal(books.enterprise, BETA, founded_on="2025-03-02")
    assert field_of(problem) == ("bad_dates", "founded_on")
    books.at("2025-03-02T00:00:00+08:00")
    books.contract(signed_on="2025-03-02")
    books.enterprise(BETA, founded_on="2025-03-02")


@pytest.mark.parametrize(("ends", "is_refused"), [("2024-12-18", True), ("2024-12-19", False)])
def test_a_term_that_ends_before_the_policy_of_its_signing_is_refused(ends, is_refused):
    books = opened(policy_text(starts="2024-12-18", ends="2026-12-18"))
    terms = {"signed_on": "2024-12-18", "starts": "2024-01-01", "ends": ends}
    if is_refused:
        assert field_of(refusal(books.contract, **terms)) == ("bad_dates", "until")
    else:
        books.contract(**terms)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"prices": {DEVICE.upper(): "4.50"}}, "prices"),
        ({"prices": {"h100": "4.50", "H100": "4.50"}}, "prices"),
        ({"max_devices": {DEVICE.title(): 8}}, "max_devices"),
        ({"max_devices": {"h100": 8, "H100": 8}}, "max_devices"),
        ({"prices": {"h100": "4.50"}, "max_devices": {DEVICE.title(): 8}}, "max_devices"),
    ],
)
def test_a_name_in_a_contract_that_differs_only_by_case_is_refused(changes, field):
    assert field_of(refusal(opened().contract, **changes)) == ("looks_alike", field)


def test_a_device_kind_is_enlisted_in_one_spelling():
    books = opened()
    for devices in ({DEVICE.upper(): 1}, {"h100": 1, "H100": 1}):
        problem = refusal(books.enlist, "more", devices, "2025-01-01", "2026-01-01")
        assert field_of(problem) == ("looks_alike", "devices")
    twice = {"h100": 1, "H100": 1}
    problem = refusal(books.provider, "sz", uscc=uscc_of(5), devices=twice)
    assert field_of(problem) == ("looks_alike", "devices")


def test_terms_that_are_lawful_and_fund_nothing_are_registered_with_a_warning():
    books = opened()

    def warnings(id_: str, **terms) -> list[str]:
        number = books.contract(id_, **terms)
        response = response_to(books.state, number, books.entries[number])
        return [text.split(":")[0] for text in response.get("warnings", [])]

    assert warnings("A") == []
    assert warnings("B", use="inference") == ["use"]
    assert warnings("C", prices={DEVICE: "4.50", "h100": "1.00", "a100": "1.00"}) == ["prices"] * 2
    after = {"signed_on": "2025-01-01", "starts": "2026-12-18", "ends": "2027-12-18"}
    assert warnings("F", **after) == ["from"]
    assert warnings("G", **(after | {"starts": "2026-12-17"})) == []
    assert warnings("D", max_devices={DEVICE: 1, "h100": 1}) == ["max_devices"]
    books.enlist("more", {"h100": 1}, "2025-01-01", "2026-01-01")
    assert warnings("E", prices={"h100": "1.00"}, max_devices={}) == []


@pytest.mark.parametrize(
    "prices",
    [
        {DEVICE: "4.50", "h100": {"amount": "100.00", "per": "day"}},
        {DEVICE: {"amount": "1.00", "per": "month"}, "h100": {"amount": "1.00", "per": "day"}},
    ],
)
def test_the_prices_of_a_contract_are_for_one_time(prices):
    problem = refusal(opened().contract, prices=prices)
    assert (problem.code, problem.facts) == ("malformed", {"field": "prices"})


@pytest.mark.parametrize("per", ["day", "month"])
def test_a_price_for_a_day_or_a_month_stands_in_the_entry_and_comes_back(per):
    books, price = opened(), {"amount": "3000.00", "per": per}
    number = books.contract(prices={DEVICE: price})
    entry = books.entries[number]
    told = decode_canonical(encode(entry))
    assert told["prices"] == {DEVICE: {"amount": 30_000_000, "per": per}}
    assert read_entry(told) == entry
    assert fields_of(command_of(entry))["prices"] == entry.prices
    assert books.contract(prices={DEVICE: price}) == number
    for other in (price | {"per": {"day": "month", "month": "day"}[per]}, "3000.00"):
        assert refusal(books.contract, prices={DEVICE: other}).code == "exists_differently"


def test_a_contract_of_nothing_is_malformed():
    assert refusal(opened().contract, amount="0.00").code == "malformed"
    opened().contract(amount="0.01")


@pytest.mark.parametrize(
    ("founded_on", "signed_on", "ratio_class"),
    [
        ("2024-03-01", "2025-02-28", "startup"),
        ("2024-03-01", "2025-03-01", "standard"),
        ("2024-03-01", "2024-03-01", "startup"),
        ("2024-02-29", "2025-02-27", "startup"),
        ("2024-02-29", "2025-02-28", "standard"),
        ("2023-02-28", "2024-02-28", "standard"),
        ("2023-12-31", "2024-12-30", "startup"),
        ("2023-12-31", "2024-12-31", "standard"),
        ("1999-01-01", "2024-12-31", "standard"),
    ],
)
def test_a_startup_was_founded_less_than_12_months_before_the_signing(
    founded_on, signed_on, ratio_class
):
    books = opened()
    books.enterprise(BETA, founded_on=founded_on)
    books.contract(enterprise=BETA, signed_on=signed_on)
    assert books.entries[-1].ratio_class == ratio_class
    ratio_bp = {"standard": 5000, "startup": 6000}[ratio_class]
    segments = books.state.contracts["A"].segments
    assert {segment.ratio_bp for segment in segments} == {ratio_bp}


@pytest.mark.parametrize("applicant", ["university", "institute"])
def test_only_enterprises_are_startups(applicant):
    books = opened()
    books.enterprise(BETA, founded_on="2024-12-01", applicant=applicant)
    books.contract(enterprise=BETA)
    assert books.entries[-1].ratio_class == "standard"


def test_a_uscc_must_have_its_check_character():
    for wrong in ("914403007084611360", "91440300708461136t", " 91440300708461136T", ""):
        with pytest.raises(ValueError, match="USCC"):
            opened().enterprise(wrong)


def test_freezing_and_unfreezing_take_turns():
    books = with_contract()
    assert refusal(books.unfreeze, "A").code == "not_frozen"
    books.freeze("A")
    assert refusal(books.freeze, "A").code == "already_frozen"
    books.unfreeze("A")
    assert refusal(books.unfreeze, "A").code == "not_frozen"
    assert refusal(books.freeze, "none").code == "unknown_contract"
    assert refusal(books.unfreeze, "none").code == "unknown_contract"


# Issue


def test_an_issue_is_checked_in_this_order():
    books = Books()
    assert refusal(books.issue, 2030, "0.00").code == "unknown_programme"
    books.activate(policy_text(pool="5.00", cap="6.00"))
    assert refusal(books.issue, 2030, "0.00").code == "unknown_enterprise"
    books.enterprise()
    books.provider()
    assert refusal(books.issue, 2030, "0.00").code == "unknown_year"
    assert refusal(books.issue, 2025, "0.00").code == "malformed"
    assert refusal(books.issue, 2025, "6.01").code == "below_threshold"
    books.contract("A")
    books.fund_contract("A", "499994.50")
    assert refusal(books.issue, 2025, "6.01").code == "cap_exceeded"
    assert refusal(books.issue, 2025, "6.00").code == "above_need"
    assert refusal(books.issue, 2025, "5.50").code == "pool_exceeded"
    books.issue(2025, "5.00")


@pytest.mark.parametrize("year", [2023, 2027])
def test_a_year_that_no_policy_touches_has_no_coupons(year):
    books = with_contract()
    assert refusal(books.issue, year, "1.00").code == "unknown_year"
    assert refusal(books.withdraw, year, "1.00").code == "unknown_year"


def test_the_threshold_is_inclusive_and_counts_full_amounts():
    books = opened()
    books.contract("A", amount="499999.99")
    assert refusal(books.issue, 2025, "1.00").code == "below_threshold"
    books.contract("B", amount="0.01")
    books.issue(2025, "1.00")


@pytest.mark.parametrize(
    "changes",
    [
        {"related_party": True},
        {"use": "inference"},
        {"starts": "2026-01-01", "ends": "2027-01-01"},
        {"starts": "2024-12-01", "ends": "2025-01-01"},
    ],
)
def test_contracts_that_cannot_be_eligible_in_the_year_do_not_reach_the_threshold(changes):
    books = with_contract(**changes)
    assert refusal(books.issue, 2025, "1.00").code == "below_threshold"


@pytest.mark.parametrize(
    "changes",
    [
        {"starts": "2025-12-31", "ends": "2026-06-01"},
        {"starts": "2024-12-01", "ends": "2025-01-02"},
        {"starts": "2023-01-01", "ends": "2027-01-01"},
    ],
)
def test_a_term_that_touches_the_year_by_a_day_reaches_the_threshold(changes):
    with_contract(amount="500000.00", **changes).issue(2025, "1.00")


def test_a_term_reaches_the_threshold_only_of_years_in_which_its_own_policy_is_valid():
    books = with_contract(policy_text(version="first", starts="2025-01-01", ends="2026-01-01"))
    books.activate(policy_text(version="second", starts="2025-01-01", ends="2027-01-01"))
    assert books.state.contracts["A"].registered.ends > "2026-12-31"
    assert refusal(books.issue, 2026, "1.00").code == "below_threshold"
    books.issue(2025, "1.00")


def test_the_threshold_looks_at_the_enterprises_own_contracts():
    books = with_contract()
    books.enterprise(BETA)
    assert refusal(books.issue, 2025, "1.00", BETA).code == "below_threshold"


def test_the_cap_holds_for_the_sum_of_a_year_inclusive():
    books = with_contract(amount="40000000.00")
    assert refusal(books.issue, 2025, "10000000.01").code == "cap_exceeded"
    books.issue(2025, "9999999.99")
    assert refusal(books.issue, 2025, "0.02").code == "cap_exceeded"
    books.issue(2025, "0.01")
    assert refusal(books.issue, 2025, "0.01").code == "cap_exceeded"
    books.issue(2026, "10000000.00")
    books.withdraw(2025, "3.00")
    books.issue(2025, "3.00")
    assert books.coupon(2025).issued == 1_000_000_000


def test_the_pool_holds_for_all_enterprises_of_a_year_inclusive():
    books = with_contract(lifted(pool="100.00"))
    books.enterprise(BETA)
    books.contract("B", enterprise=BETA)
    books.issue(2025, "60.00")
    assert refusal(books.issue, 2025, "40.01", BETA).code == "pool_exceeded"
    books.issue(2025, "40.00", BETA)
    assert refusal(books.issue, 2025, "0.01").code == "pool_exceeded"
    books.issue(2026, "100.00")
    books.withdraw(2025, "10.00")
    books.issue(2025, "10.00", BETA)


# Withdrawal


def test_a_withdrawal_goes_down_to_what_was_granted_and_no_fen_further():
    books = with_contract()
    books.issue(2025, "200.00")
    use(books, "r", "A", 64_000)
    assert books.coupon(2025) == (20_000, 14_400, 14_400)
    problem = refusal(books.withdraw, 2025, "56.01")
    assert (problem.code, problem.detail) == ("below_granted", "144.00 are granted")
    books.withdraw(2025, "56.00")
    assert books.coupon(2025) == (14_400, 14_400, 14_400)
    assert books.entries[-1].postings == [
        (f"coupon:{PROGRAMME}:2025:{ALPHA}", f"pool:{PROGRAMME}:2025", 5_600)
    ]
    assert refusal(books.withdraw, 2025, "0.01").code == "below_granted"
    books.post(voids=[void("r")])
    books.withdraw(2025, "144.00")
    assert books.coupon(2025).issued == 0


def test_nothing_can_be_withdrawn_from_a_coupon_that_is_not_there():
    assert refusal(with_contract().withdraw, 2025, "0.01").code == "below_granted"


def test_a_withdrawal_of_nothing_is_malformed_and_of_nobody_unknown():
    books = with_contract()
    assert refusal(books.withdraw, 2025, "0.00").code == "malformed"
    assert refusal(books.withdraw, 2025, "1.00", BETA).code == "unknown_enterprise"
    assert refusal(books.withdraw, 2025, "1.00", programme="other").code == "unknown_programme"


# Voids by the authority


def test_the_authority_voids_a_record_once_and_only_one_that_is_there():
    books = with_contract()
    use(books, "r", "A", 64_000)
    assert refusal(books.void, "none").code == "unknown_record"
    assert refusal(books.void, "r", "sz").code == "unknown_record"
    number = books.void("r")
    entry = books.entries[number]
    assert isinstance(entry, RecordVoided)
    assert (entry.record, entry.contract, entry.cost) == (number - 1, "A", -28_800)
    assert entry.batch is UNSET
    assert entry.reason == "found by the auditors"
    problem = refusal(books.void, "r")
    assert (problem.code, problem.facts) == ("already_voided", {"entry": number})


def test_a_void_of_a_void_does_not_exist():
    books = with_contract()
    use(books, "r", "A", 64_000)
    books.void("r")
    assert refusal(books.void, "r").code == "already_voided"
    assert books.cost("A") == 0


# Releases


def with_withheld() -> Books:
    """Return books in which `r` is withheld by half, and `all` fits."""
    books = opened(lifted())
    books.contract("A", max_devices={DEVICE: 8})
    books.issue(2025, "200.00")
    books.post([record("all", "A", "2025-03-01T07:00:00+08:00", HOUR[0], 8_000)])
    books.post([record("r", "A", *HOUR, 16_000)])
    return books


def test_a_release_lets_what_is_withheld_count_once():
    books = with_withheld()
    number = books.release("r")
    entry = books.entries[number]
    assert isinstance(entry, RecordReleased)
    assert (entry.record, entry.contract, entry.device) == (number - 1, "A", DEVICE)
    assert entry.withheld == [(day_number("2025-03-01"), 8_000 * 3_600)]
    assert (entry.withheld_cost, entry.ineligible) == (-3_600, UNSET)
    assert entry.entitled == [(2025, 1_800)]
    assert entry.postings == [(f"coupon:{PROGRAMME}:2025:{ALPHA}", "accrued:A:2025", 1_800)]
    assert entry.reason == "a clock was wrong"
    assert response_to(books.state, number, entry) == {"entry": number, "entitled": "18.00"}
    problem = refusal(books.release, "r")
    assert (problem.code, problem.status) == ("already_released", 409)
    assert problem.facts == {"entry": number}
    assert books.cost("A") == 10_800


def test_only_a_standing_record_of_which_something_is_withheld_can_be_released():
    books = with_withheld()
    assert refusal(books.release, "none").code == "unknown_record"
    assert refusal(books.release, "r", "sz").code == "unknown_record"
    problem = refusal(books.release, "all")
    assert (problem.code, problem.status) == ("nothing_withheld", 409)
    number = books.void("r")
    problem = refusal(books.release, "r")
    assert (problem.code, problem.facts) == ("already_voided", {"entry": number})
    books.void("all")
    assert refusal(books.release, "all").code == "already_voided"


def test_a_record_that_was_released_and_taken_back_stays_so():
    books = with_withheld()
    books.release("r")
    books.void("r")
    assert refusal(books.release, "r").code == "already_voided"


def test_a_release_is_possible_while_the_contract_is_frozen_and_after_the_key_was_revoked():
    books = with_withheld()
    books.freeze("A")
    books.revoke()
    books.at("2031-01-01T00:00:00+08:00").release("r")
    assert books.share("A", 2025).withheld == 0


# Entries


def every_command() -> Books:
    """Return books to which each command of the authority was given."""
    books = with_contract()
    books.issue(2025, "200.00", reason="round 1")
    use(books, "r", "A", 64_000)
    books.withdraw(2025, "1.00")
    take_every_step(books, "A", 2025)
    books.freeze("A")
    books.unfreeze("A")
    books.enlist("more", 4, "2025-01-01", "2026-01-01", reason="round 2")
    books.contract("B", max_devices={DEVICE: 1}, follows="A")
    books.fund_contract("B", "1.00", reason="told late")
    books.enterprise(BETA)
    books.succeed(BETA, ALPHA, reason="a merger")
    use(books, "s", "B", 64_000)
    books.release("s")
    books.void("r")
    books.revoke(suspected_since="2025-03-01T08:00:00+08:00")
    rotate_keys(books)
    meet_people(books)
    award(books)
    books.supplement("2025-02-01", prices={DEVICE: "4.00"}, max_devices={DEVICE: 64})
    books.correct("B", use="other", related_party=True, starts="2024-12-02")
    books.amend_enterprise(name="另一名")
    books.amend_provider("另一名")
    books.late_window("2025-01-01", "2025-01-08", "2026-01-01")
    divide(books)
    end_year(books, 2026)
    books.dispute("s", "B")
    books.dismiss("s")
    month = next(iter(books.state.months.over))
    books.close_month(month, books.state.people.active()[0])
    books.confirm_month(month)
    books.digest_accesses("2025-02-01")
    books.digest_state()
    return books


def test_every_entry_of_the_authority_gives_its_command_back():
    books = every_command()
    kinds = set()
    for entry in books.entries[1:]:
        made = UsageAccepted | entries.BatchAccepted | entries.CouponAllotted
        if isinstance(entry, made | entries.MonthListed):
            continue
        command = command_of(entry)
        assert same_but_for_reason(command, command_of(type(entry)(**_fields(entry))))
        assert fields_of(command) == {name: getattr(entry, name) for name in fields_of(command)}
        kinds.add(type(command))
    assert kinds == set(BY_COMMAND)


def meet_people(books):
    books.person("li")
    books.token("li-1", "li")
    books.end_proposal(books.propose("freeze", contract="A", reason="seen on site"))
    books.ask(commands.EndToken, token="li-1")
    books.ask(commands.EndPerson, id="li")
    books.recover_person("zhao", "zhao-1")


def award(books):
    """Make an award for a project, and change it."""
    books.activate(shipped_text("adaptation", "2024-12"))
    books.budget(2025, "9.00", programme="adaptation")
    books.project(audited_investment="90.00")
    books.audit("80.00")
    books.fund("1.00")
    books.award("W", "adaptation", "5.00", project="P", base="20.00")
    books.change_award("W", "4.00")


def divide(books):
    """Divide a pool."""
    section = '[allocation]\nmode = "proportional"\narticle = "1"\nstanding = "measures"\n'
    books.activate(f"{lifted(programme='divided')}\n{section}")
    books.contract("D", programme="divided")
    books.allocate(2025, (ALPHA, "1.00"), programme="divided")


def rotate_keys(books):
    books.add_log_key()
    books.add_receipt_key()
    books.retire_log_key()
    books.retire_receipt_key()


def sell(books: Books) -> None:
    """Sell a month of service."""
    books.activate(shipped_text("corpus-coupon", "2024-12").replace("= 35", "= 3660"))
    books.vendor("szdex", uscc_of(71), "corpus-coupon")
    books.shop("K", "corpus-coupon", "szdex")
    dates = {"service_from": "2025-01-01", "service_until": "2025-02-01"}
    books.sell(purchase("k", "K", "10.00", "2025-01-01", **dates))


def answer_month(books: Books, record: str) -> None:
    """Dispute a record in vain, and close and confirm the first month, a month later."""
    books.dispute(record)
    books.dismiss(record)
    books.now += 31 * DAY_SECONDS * MICROSECONDS
    month = next(iter(books.state.months.over), books.state.months.running)
    books.close_month(month, "op")
    books.confirm_month(month)


def test_every_entry_survives_its_bytes():
    books = with_contract()
    books.issue(2025, "200.00", reason="第一批")
    books.post([record("r", "A", *HOUR, 64_000, run="x", state="完成", final=True)])
    books.contract("B", max_devices={DEVICE: 1})
    books.fund_contract("B", "1.00")
    books.enterprise(BETA)
    books.succeed(BETA, ALPHA)
    books.enlist("more", 4, "2025-01-01", "2026-01-01")
    books.post([record("s", "B", *HOUR, 64_000), record("t", "B", *HOUR, 64_000)])
    books.release("s")
    books.post(voids=[void("r", "节点故障"), void("t", "节点故障")])
    rotate_keys(books)
    meet_people(books)
    books.issue(2025, "200.00")
    use(books, "c", "A", 64_000)
    take_every_step(books, "A", 2025)
    award(books)
    books.supplement("2025-02-01", prices={DEVICE: "4.00"}, max_devices={DEVICE: 64})
    books.correct("B", use="other", related_party=True, starts="2024-12-02")
    books.amend_enterprise(name="另一名")
    books.amend_provider("另一名")
    books.late_window("2025-01-01", "2025-01-08", "2026-01-01")
    divide(books)
    sell(books)
    books.post(summary=summary("2025-02-01", line("A", 1, "1.000")))
    answer_month(books, "c")
    books.digest_accesses("2025-02-01")
    books.digest_state()
    end_year(books, 2026)
    kinds = {type(entry) for entry in books.entries}
    assert kinds == set(BY_ENTRY) - {
        *(entries.KeyRevoked, entries.ContractFrozen, entries.ContractUnfrozen),
        entries.CouponWithdrawn,
    }
    for entry in books.entries:
        data = encode(entry)
        assert len(data) <= MAX_ENTRY_BYTES
        assert read_entry(_decoded(data)) == entry


@pytest.mark.parametrize("kind", [None, "", "Usage", "none", 1, True, [], {}, ["usage"]])
def test_an_entry_of_another_kind_is_refused(kind):
    with pytest.raises(ValueError, match="unknown kind"):
        read_entry({"kind": kind})


def test_the_limit_of_contracts_holds_for_an_enterprise_and_a_programme():
    books = opened(lifted())
    for number in range(MAX_CONTRACTS_OF_YEAR):
        books.contract(f"C{number}")
    problem = refusal(books.contract, "more")
    assert (problem.code, problem.status) == ("too_many_contracts", 422)
    books.enterprise(BETA)
    books.contract("more", enterprise=BETA)


def test_an_entry_that_moves_money_in_every_contract_and_year_fits_into_its_bytes():
    # One record in the first year takes the room of the three later ones. The money that this frees
    # goes, in small parts, to all the other contracts of the enterprise.
    name = "long-" + "p" * 27
    policy = lifted(programme=name, starts="2025-01-01", ends="2029-01-01", pool="1000000000.00")
    books = Books(now="2029-01-01T12:00:00+08:00")
    books.activate(policy)
    books.provider("p" * 64)
    books.key("k" * 64, "p" * 64)
    books.enterprise()

    def post(*records: dict) -> None:
        results = books.post(records, provider="p" * 64, keyid="k" * 64)
        assert {result.status for result in results} == {"accepted"}

    def used(contract: str, year: int, milli_devices: int, seconds: int) -> dict:
        start = parse_instant(f"{year}-03-01T08:00:00+08:00")
        return record(f"{contract}-{year}", contract, start, start + seconds, milli_devices)

    contracts = [f"{number:064d}" for number in range(MAX_CONTRACTS_OF_YEAR)]
    terms = {"programme": name, "provider": "p" * 64, "starts": "2025-01-01", "ends": "2029-01-01"}
    # 2.00 yuan for each later year of the first contract; the others wait for two fen a year each.
    for contract in contracts:
        books.contract(contract, amount="6.00", **terms)
    for year in (2026, 2027, 2028):
        books.issue(year, "1.00", programme=name)
    post(*(used(contracts[0], year, 1_000, 1_600) for year in (2026, 2027, 2028)))
    post(*(used(c, year, 1_000, 16) for c in contracts[1:] for year in (2026, 2027, 2028)))
    assert books.granted(contracts[0]) == 300
    assert books.granted(contracts[1]) == 0
    start = parse_instant("2025-03-01T08:00:00+08:00")
    books.post(
        [
            record(
                "i" * 128,
                contracts[0],
                start,
                start + 8_000,
                1_000,
                run="r" * 128,
                state="态" * 128,
            )
        ],
        provider="p" * 64,
        keyid="k" * 64,
        stream="s" * 64,
    )
    entry = books.entries[-1]
    assert len(entry.postings) > 140
    assert len(encode(entry)) < MAX_ENTRY_BYTES // 2
    # The worst that the rules could ever ask for: each contract in each year, the largest sums.
    largest = 10**15
    postings = [
        (f"coupon:{name}:{2025 + year}:{ALPHA}", f"accrued:{contract}:{2025 + year}", largest)
        for contract in contracts
        for year in range(4)
    ]
    assert len(postings) == MAX_CONTRACTS_OF_YEAR * 4
    by_year = [(2025 + year, largest) for year in range(4)]
    by_day = [(20_000 + day, largest) for day in range(32)]
    common = {
        "at": 2**53 - 1,
        "by": "b" * 64,
        "postings": [(f"enterprise:{ALPHA}", f"due:{contracts[0]}", largest), *postings],
        "provider": "p" * 64,
        "id": "i" * 128,
        "contract": contracts[0],
        "device": "d" * 64,
        "entitled": by_year,
        "withheld": by_day,
        "withheld_cost": largest,
        "ineligible": [(reason, largest) for reason in REASONS],
        "salt": "00" * 16,
    }
    asked = {
        "record": 2**53 - 1,
        "reason": "\U00020000" * 500,
        "request": "r" * 200,
        "person": "w" * 64,
        "proposal": 2**53 - 1,
    }
    run: entries.Evidence = ("provider", 2**53 - 1, 2**53 - 1, 2**53 - 1)
    for worst in (
        RecordVoided(**common, **asked, cost=largest),
        RecordReleased(**common, **asked),
        UsageAccepted(
            **common,
            batch=2**53 - 1,
            milli_devices=10**9,
            start=2**53 - 1,
            end=2**53 - 1,
            run="r" * 128,
            state="\U00020000" * 128,
            final=False,
            cost=largest,
            fits=by_day,
            evidence=[run] * MAX_EVIDENCE,
        ),
        _largest_amendment(contracts[0], postings),
    ):
        assert len(encode(worst)) <= MAX_ENTRY_BYTES


def _largest_amendment(contract: str, postings: list[entries.Posting]) -> entries.Entry:
    """Return an amendment that moves a contract from coupons which pay all others then."""
    largest = 10**15
    others = [
        (f"coupon:{'p' * 32}:{2029 + year}:{BETA}", f"accrued:{contract}:{2029 + year}", largest)
        for year in range(4)
    ]
    kinds = [f"{number:064d}" for number in range(MAX_DEVICE_KINDS)]
    return entries.ContractAmended(
        at=2**53 - 1,
        by="b" * 64,
        person="w" * 64,
        request="r" * 200,
        proposal=2**53 - 1,
        salt="00" * 16,
        reason="\U00020000" * 500,
        document="\U00020000" * 200,
        contract=contract,
        mode="correction",
        signed_on="2025-01-01",
        amount=largest,
        starts="2025-01-01",
        ends="2029-01-01",
        prices={kind: entries.PriceFor(10**9, "month") for kind in kinds},
        max_devices=dict.fromkeys(kinds, 10**7),
        use="training",
        related_party=False,
        enterprise=BETA,
        policy="v" * 64,
        ratio_class="c" * 32,
        cost=-(2**53) + 1,
        withheld_cost=-(2**53) + 1,
        ineligible=[(reason, -(2**53) + 1) for reason in REASONS],
        entitled=[(2025 + year, -largest) for year in range(8)],
        postings=[
            (f"enterprise:{BETA}", f"enterprise:{ALPHA}", 2**53 - 1),
            (f"enterprise:{BETA}", f"due:{contract}", 2**53 - 1),
            *postings,
            *others,
        ],
    )


def test_a_record_of_which_every_second_quarter_is_withheld_fits_into_an_entry():
    books = opened(lifted())
    books.contract("A", max_devices={DEVICE: 1})
    start = parse_instant("2025-01-29T08:00:00+08:00")
    quarter, month = 900, 31 * DAY
    busy = range(start, start + month, 2 * quarter)
    books.post(record(f"q{begin}", "A", begin, begin + quarter, 1_000) for begin in busy)
    books.post([record("r" * 128, "A", start, start + month, 1_000)])
    usage = books.entries[-1]
    assert len(usage.evidence) == MAX_EVIDENCE
    assert usage.evidence[-1][2] == (start + month - quarter) * MICROSECONDS
    withheld = sum(time for _, time in usage.withheld)
    assert withheld == len(busy) * quarter * 1_000
    assert withheld + sum(time for _, time in usage.fits) == month * 1_000
    assert sum(time for *_, time in usage.evidence) == withheld
    assert len(encode(usage)) < 3_000


def test_a_policy_of_the_largest_size_fits_into_an_entry_whatever_its_characters():
    for character in ('"', "\\", "\n", "策"):
        books = Books()
        comment = "\n#" if character != "\n" else "\n"
        text = policy_text() + comment
        while True:
            longer = text + character * 100
            if len(longer.encode()) > _policy_limit():
                break
            text = longer
        books.activate(text, reason="\U00020000" * 500)
        assert len(encode(books.entries[-1])) < MAX_ENTRY_BYTES - 1_000


def test_the_dearest_record_that_can_be_posted_fits_into_the_integers_of_an_entry():
    books = opened(lifted())
    highest = "99999.9999"
    books.contract("A", amount="9999999999999.99", prices={DEVICE: highest})
    with pytest.raises(ValueError, match="price"):
        books.contract("B", prices={DEVICE: "100000.00"})
    month = ("2025-01-29T08:00:00+08:00", "2025-03-01T08:00:00+08:00")
    (result,) = books.post([record("r", "A", *month, 10**9)])
    assert result.status == "accepted"
    encode(books.entries[-1])
    assert books.entries[-1].cost > 10**15


def test_a_provider_and_a_contract_with_all_that_they_may_hold_fit_into_an_entry():
    books = opened()
    kinds = {f"{number:064d}": 10_000_000 for number in range(32)}
    wide = "\U00020000" * 200
    books.provider("p" * 64, uscc=uscc_of(7), name=wide, devices=kinds, reason="\U00020000" * 500)
    assert len(encode(books.entries[-1])) < MAX_ENTRY_BYTES
    prices = dict.fromkeys(kinds, "99999.9999")
    books.contract("c" * 64, prices=prices, max_devices=kinds, reason="\U00020000" * 500)
    assert len(encode(books.entries[-1])) < MAX_ENTRY_BYTES


# Bodies


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("provider", {"devices": {}}),
        ("provider", {"devices": {DEVICE: 0}}),
        ("provider", {"devices": {"a b": 1}}),
        ("provider", {"devices": {f"d{number}": 1 for number in range(33)}}),
        ("provider", {"uscc": "91440300708461136t"}),
        ("provider", {"name": ""}),
        ("provider", {"name": "a\nb"}),
        ("provider", {"extra": 1}),
        ("provider", {"enlisted": {"batch": "1", "from": "2025-02-30", "until": "2026-01-01"}}),
        ("release", {"reason": ""}),
        ("release", {"reason": "a\nb"}),
        ("key", {"algorithm": "none"}),
        ("key", {"public_key": "x"}),
        ("enterprise", {"applicant": "person"}),
        ("enterprise", {"name": "a\u0085b"}),
        ("enterprise", {"founded_on": "2019-4-1"}),
        ("contract", {"prices": {DEVICE: "0.00"}}),
        ("contract", {"prices": {DEVICE: "-1.00"}}),
        ("contract", {"prices": {DEVICE: "1.00000"}}),
        ("contract", {"prices": {DEVICE: 4.5}}),
        *(
            ("contract", {"prices": {DEVICE: price}})
            for price in (
                *({}, {"amount": "1.00"}, {"per": "day"}, {"amount": "1.00", "per": "hour"}),
                *({"amount": 1, "per": "day"}, {"amount": "0.00", "per": "month"}),
                *({"amount": {}, "per": "day"}, {"amount": "1.00", "per": ["day"]}),
                {"amount": "1.00", "per": "day", "note": "x"},
            )
        ),
        ("contract", {"amount": 1000000}),
        ("contract", {"amount": "1000000"}),
        ("contract", {"amount": "1000000.0"}),
        ("contract", {"amount": "-1.00"}),
        ("contract", {"amount": "1e6"}),
        ("contract", {"related_party": None}),
        ("contract", {"related_party": 0}),
        ("contract", {"max_devices": {DEVICE: 0}}),
        ("contract", {"policy": "2024-12"}),
        ("contract", {"class": "startup"}),
    ],
)
def test_a_body_that_has_not_the_documented_form_is_refused(kind, changes):
    books = opened()
    with pytest.raises(ValueError, match=r"."):
        getattr(books, kind)("other", **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"devices": {}},
        {"devices": {DEVICE: 0}},
        {"devices": {DEVICE: 10_000_001}},
        {"enlisted": {"batch": "a b", "from": "2025-02-01", "until": "2026-01-01"}},
        {"enlisted": {"batch": "b", "from": "2025-02-30", "until": "2026-01-01"}},
        {"enlisted": {"batch": "b", "from": "2025-02-01"}},
        {"extra": 1},
    ],
)
def test_an_enlistment_that_has_not_the_documented_form_is_refused(changes):
    enlisted = {"batch": "b", "from": "2025-02-01", "until": "2026-01-01"}
    body = {"provider": "pcl", "devices": {DEVICE: 1}, "enlisted": enlisted} | changes
    with pytest.raises(ValueError, match=r"."):
        opened().ask(commands.EnlistProvider, **body)


@pytest.mark.parametrize(
    "changes", [{"year": "2025"}, {"year": True}, {"year": 20_250}, {"amount": 1}]
)
def test_an_issue_names_its_year_as_a_number_and_its_amount_as_a_text(changes):
    with pytest.raises(ValueError, match=r"."):
        with_contract().issue(**({"year": 2025, "amount": "1.00"} | changes))


def test_only_the_content_of_a_policy_may_hold_line_feeds():
    body = b'{"programme":"x","version":"1","content":"a\\nb","reason":"a\\nb"}'
    with pytest.raises(ValueError, match="control"):
        decode(body, commands.ActivatePolicy)
    command = decode(body.replace(b',"reason":"a\\nb"', b""), commands.ActivatePolicy)
    assert command.content == "a\nb"
    with pytest.raises(ValueError, match="control"):
        decode(body.replace(b"a\\nb", b"a\\tb"), commands.ActivatePolicy)


def _policy_limit() -> int:
    from meter.values.policy_file import MAX_POLICY_BYTES

    return MAX_POLICY_BYTES


def _fields(entry: entries.Entry) -> dict:
    return {name: getattr(entry, name) for name in entry.__struct_fields__}


def _decoded(data: bytes) -> dict:
    from ledger.canon import decode as canonical

    return canonical(data)
