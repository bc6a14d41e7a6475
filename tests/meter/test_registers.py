"""Providers, keys and contracts: each refusal of their commands, and the edges of every limit."""

import pytest

from ledger.canon import decode as decode_canonical
from ledger.canon import encode
from meter.rules.commands import fields_of
from meter.rules.decide_command import response_to
from meter.rules.kinds.table import command_of, read_entry
from tests.books import BETA, DEVICE, Books, opened, policy_text, public_text, signer, uscc_of
from tests.commanding import field_of, refusal, with_contract

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
