"""Which steps a claim in each state takes, asked of the deciding alone.

What applies an entry looks at the state again, with the same error: so nothing is applied here.
"""

import json

import pytest
from msgspec import UNSET
from msgspec.structs import asdict

from meter.rules import commands
from meter.rules.claim_book import draft_claim
from meter.rules.decide_command import decide_command
from meter.rules.entries import Invoice, Payment
from meter.rules.kinds.kind import Existing, Stamp
from meter.values.problems import Problem
from meter.values.strict import decode_request
from tests.desk import Desk
from tests.papers import DAY, DIGEST, day_after, day_of, invoice, payment

# By state: how it is reached, and what can be asked then.
STATES = {
    "entered": ("check", "end"),
    "checked": ("approve", "end"),
    "approved": ("notice", "revoke"),
    "noticed": ("object", "resolve", "order", "revoke"),
    "ordered": ("pay",),
    "paid": (),
    "ended": (),
}
STEPS = ("enter", "check", "approve", "notice", "order", "pay")


def desk_at(state: str) -> tuple[Desk, int]:
    """Return a desk with a claim in a state, and the number of an objection to it, or 0."""
    desk, objection = Desk(A="1000000.00"), 0
    for step in STEPS[: ([*STATES].index(state) + 1) if state != "ended" else 1]:
        getattr(desk, step)(*(("100.00",) if step == "approve" else ()))
        if step == "notice":
            objection = desk.object()
            if state != "noticed":
                desk.resolve(objection)
            desk.books.at(desk.books.now + 8 * DAY)
    if state == "ended":
        desk.end("returned")
    assert desk.claim().state == state
    return desk, objection


def asked(desk: Desk, objection: int) -> dict[str, str | None]:
    """Return what each step is answered: the code of a refusal, or None."""
    today = day_of(desk.books)
    notice = {"from": today, "until": day_after(today, 7), "url": "https://city.test/n/1"}
    resolution = {"objection": f"{objection}", "outcome": "dismissed", "reason": "seen"}
    paid = {"bank_reference": "city-1", "paid_on": today}
    return {
        "check": code(desk, commands.CheckClaim, "checker"),
        "end": code(desk, commands.EndClaim, "maker", outcome="returned"),
        "approve": code(desk, commands.ApproveClaim, "approver", amount="0.01"),
        "notice": code(desk, commands.NoticeClaim, "maker", **notice),
        "object": code(desk, commands.EnterObjection, "maker", sha256=DIGEST),
        "resolve": code(desk, commands.ResolveObjection, "maker", **resolution),
        "revoke": code(desk, commands.RevokeClaim, "maker", reason="a mistake"),
        "order": code(desk, commands.OrderClaim, "payer"),
        "pay": code(desk, commands.PayClaim, "maker", **paid),
    }


def code(desk: Desk, kind: type[commands.Command], by: str, **body: str) -> str | None:
    """Decide a command about the claim, and apply nothing."""
    command = decode_request(json.dumps({"claim": "C1", **body}).encode(), kind, {})
    stamp = Stamp(desk.books.now, f"{by}-1", "request", "0" * 32, "")
    try:
        assert not isinstance(decide_command(desk.books.state, command, stamp), Existing)
    except Problem as problem:
        return problem.code
    return None


@pytest.mark.parametrize("state", STATES)
def test_a_claim_takes_the_steps_of_its_state_and_no_other(state):
    desk, objection = desk_at(state)
    expected = {step: None if step in STATES[state] else "wrong_state" for step in asked(desk, 0)}
    if state == "noticed":
        expected["order"] = "objection_open"
    assert asked(desk, objection) == expected


def test_a_draft_is_of_no_entry_and_counts_its_papers():
    kinds = ((commands.InvoiceBody, Invoice), (commands.PaymentBody, Payment))
    bodies = [
        decode_request(json.dumps(each).encode(), body, {})
        for each, (body, _) in zip((invoice(), payment()), kinds, strict=True)
    ]
    made = [kind(**asdict(each)) for each, (_, kind) in zip(bodies, kinds, strict=True)]
    claim = draft_claim("A", 2025, made[:1], made[1:], UNSET, UNSET)
    assert (claim.number, claim.entry, claim.entered.at, claim.state) == (-1, -1, 0, "entered")
    assert [paper for _, paper in claim.papers()] == made
    assert (claim.approved, claim.cash, claim.notice) == (0, 0, (0, 0))
