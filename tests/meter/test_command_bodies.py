"""Bodies of commands that have not the documented form are refused."""

import pytest

from meter.rules import commands
from meter.values.strict import decode
from tests.books import DEVICE, opened
from tests.commanding import with_contract


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
