"""The authority's commands: each repetition, and its voids and releases of records."""

import pytest
from msgspec import UNSET

from meter.rules.decide_command import response_to
from meter.rules.entries import RecordReleased, RecordVoided
from tests.books import (
    ALPHA,
    BETA,
    DEVICE,
    PROGRAMME,
    Books,
    day_number,
    lifted,
    opened,
    policy_text,
    public_text,
    record,
    signer,
    uscc_of,
)
from tests.commanding import HOUR, refusal, use, with_contract

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
