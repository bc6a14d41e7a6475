"""What the pages of claims show and read: the rows of a form, a claim's acts, and the bank's lines.

Rows of papers are numbered fields, `invoice-0-number`; one that is empty but for what the page
fills in counts for nothing. A page shows some rows at a time: each other one is folded into one
hidden field, `invoice-0`, with a tab between its cells. Nothing is added up here: sums are answers
of the API.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from meter.api.claim_responses import PayableView
from meter.api.responses import ClaimView
from meter.console import form
from meter.console.form import Filled
from meter.values.problems import Problem
from meter.values.units import parse_money

MAX_PAPERS: Final = 100  # of each kind, as a claim takes them
STEP: Final = 3  # rows that a page adds at a time
ROWS: Final = 20  # of a kind that a page shows at a time
AMOUNT: Final = "amount"
ZERO: Final = "0.00"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of paper: its list in the command, its fields, and which of them a page fills in."""

    name: str
    field: str
    fields: tuple[str, ...]
    filled: tuple[str, ...]
    named_by: tuple[str, ...]


INVOICE: Final = Kind(
    "invoice",
    "invoices",
    ("number", "issued_on", "seller", "buyer", "amount", "tax", "part", "sha256"),
    ("seller", "buyer"),
    ("number",),
)
PAYMENT: Final = Kind(
    "payment",
    "payments",
    ("bank", "reference", "paid_on", "amount", "part"),
    (),
    ("bank", "reference"),
)
KINDS: Final = (INVOICE, PAYMENT)
_FAULT: Final = re.compile(
    r".* - at `\$\.(?P<list>invoices|payments)\[(?P<place>\d+)\]\.(?P<field>\w+)`",
    re.DOTALL,
)


_FOLDED: Final = re.compile(r"(?P<name>invoice|payment)-(?P<number>[0-9]{1,2})", re.ASCII)
_FIELD: Final = re.compile(rf"{_FOLDED.pattern}-\w+", re.ASCII)
_TURN: Final = re.compile(r"(?P<list>invoices|payments)-(?P<first>[0-9]{1,2})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Shown:
    """The rows of a kind that a page shows: from the `first` on, of so many in all."""

    kind: Kind
    first: int
    count: int

    @property
    def numbers(self) -> range:
        """The rows that are shown."""
        return range(self.first, min(self.first + ROWS, self.count))

    @property
    def turns(self) -> list[tuple[int, int]]:
        """The first and the last row of each part, where there is more than one."""
        firsts = range(0, self.count, ROWS) if self.count > ROWS else ()
        return [(first, min(first + ROWS, self.count) - 1) for first in firsts]


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a form: its number among all of its kind, and what stands in its fields."""

    number: int
    values: Mapping[str, str]

    @property
    def name(self) -> str:
        """What names the paper, empty while a part of that is."""
        parts = [
            self.values[each] for each in ("number", "bank", "reference") if each in self.values
        ]
        return ":".join(parts) if all(parts) else ""


def rows_shown(values: Mapping[str, str], kind: Kind) -> int:
    """Return how many rows a form has; its button adds some."""
    numbers = [
        int(found[1])
        for name in values
        if (found := re.fullmatch(rf"{kind.name}-([0-9]{{1,2}})-\w+", name, re.ASCII))
    ]
    count = max([*numbers, 0]) + 1
    return min(MAX_PAPERS, count + (STEP if values.get("step") == f"more-{kind.field}" else 0))


def shown(values: Mapping[str, str], kind: Kind, faults: Iterable[str] = ()) -> Shown:
    """Return which rows a page shows: those of a fault, of the button, or those of before."""
    count, step = rows_shown(values, kind), values.get("step", "")
    faulty = [
        int(found["number"])
        for found in map(_FIELD.fullmatch, faults)
        if found is not None and found["name"] == kind.name
    ]
    turn = _TURN.fullmatch(step)
    before = values.get(f"at-{kind.field}", "")
    if faulty:
        wanted = faulty[0]
    elif turn is not None and turn["list"] == kind.field:
        wanted = int(turn["first"])
    elif step == f"more-{kind.field}":
        wanted = count - 1
    else:
        wanted = int(before) if re.fullmatch(r"[0-9]{1,2}", before, re.ASCII) else 0
    return Shown(kind, min(wanted, count - 1) // ROWS * ROWS, count)


def is_turn(step: str) -> bool:
    """Return whether a button shows other rows."""
    return _TURN.fullmatch(step) is not None


def folded(values: Mapping[str, str], parts: Iterable[Shown] = ()) -> dict[str, str]:
    """Return a hidden field for each row that is on none of the parts shown."""
    seen = {(each.kind.name, number) for each in parts for number in each.numbers}
    found = {}
    for kind in KINDS:
        for number in range(rows_shown(values, kind)):
            name = f"{kind.name}-{number}"
            cells = [values.get(f"{name}-{field}", "") for field in kind.fields]
            if any(cells) and (kind.name, number) not in seen:
                found[name] = "\t".join(cells)
    return found


def unfolded(values: Mapping[str, str]) -> dict[str, str]:
    """Return the fields of a form with each row as fields of its own."""
    found: dict[str, str] = {}
    for name, text in values.items():
        row, cells = _FOLDED.fullmatch(name), text.split("\t")
        if row is None:
            found[name] = " ".join(cells)
            continue
        kind = INVOICE if row["name"] == INVOICE.name else PAYMENT
        found |= {f"{name}-{field}": cell for field, cell in zip(kind.fields, cells, strict=False)}
    return found


def is_of_row(name: str) -> bool:
    """Return whether a field is one of a row."""
    return _FIELD.fullmatch(name) is not None


def rows(values: Mapping[str, str], kind: Kind) -> list[Row]:
    """Return the rows in which something was filled in, in order."""
    found = []
    for number in range(rows_shown(values, kind)):
        row = {
            field: values.get(f"{kind.name}-{number}-{field}", "").strip() for field in kind.fields
        }
        if any(text for field, text in row.items() if field not in kind.filled):
            found.append(Row(number, row))
    return found


def claim_body(values: Mapping[str, str]) -> dict[str, Any]:
    """Return the body of the command that a form asks for."""
    year = values.get("year", "")
    body: dict[str, Any] = {
        "id": values.get("id", "").strip(),
        "item": values.get("item", ""),
        "year": int(year) if year.isdecimal() and len(year) <= 4 else year,
    }
    for kind in KINDS:
        body[kind.field] = [dict(row.values) for row in rows(values, kind)]
    for name in (AMOUNT, "delivery"):
        if values.get(name, "").strip():
            body[name] = values[name].strip()
    return body


def parts(values: Mapping[str, str], kind: Kind) -> str:
    """Return the papers that are named and have a part, as the API's question takes them."""
    return ",".join(
        f"{row.name}:{row.values['part']}"
        for row in rows(values, kind)
        if row.name and "," not in row.name and _is_money(row.values["part"])
    )


def incomplete(values: Mapping[str, str]) -> int:
    """Return how many rows count for nothing yet: their paper is not named, or has no part."""
    return sum(
        not (row.name and _is_money(row.values["part"]))
        for kind in KINDS
        for row in rows(values, kind)
    )


def _is_money(text: str) -> bool:
    try:
        return parse_money(text) > 0
    except ValueError:
        return False


def asked(values: Mapping[str, str]) -> str:
    """Return the amount that is asked for, empty while it is none."""
    text = values.get(AMOUNT, "").strip()
    return text if _is_money(text) else ""


def delivery(values: Mapping[str, str]) -> str:
    """Return the digest of the proof of delivery, empty while it is none."""
    text = values.get("delivery", "").strip()
    return text if re.fullmatch(r"[0-9a-f]{64}", text, re.ASCII) else ""


def refused(
    values: Mapping[str, str], problem: Problem, detail: str, words: Mapping[str, str]
) -> Filled:
    """Return the form of a claim with what is wrong, at its field where that is known.

    `detail` is the problem's, in the language of the words.
    """
    found = _FAULT.fullmatch(problem.detail)
    if problem.code != "malformed" or found is None:
        return form.refused(values, problem, detail, words)
    kind = INVOICE if found["list"] == INVOICE.field else PAYMENT
    row, field = rows(values, kind)[int(found["place"])], found["field"]
    fault = form.fault(field, row.values[field], words)
    return Filled(values, {f"{kind.name}-{row.number}-{field}": fault})


# What may be done with a claim


@dataclass(frozen=True, slots=True)
class Field:
    """A field of an act's form. `choices` are the values of a list; a `number` goes as one."""

    name: str
    type: str = "text"
    choices: tuple[str, ...] = ()
    is_needed: bool = True


@dataclass(frozen=True, slots=True)
class Act:
    """What is done with a claim: its command's path, the kind of its entry, and from which states.

    `for_firm` is what its firm may do.
    """

    name: str
    path: str
    kind: str
    states: tuple[str, ...]
    fields: tuple[Field, ...] = ()
    for_firm: bool = False

    @property
    def is_of_one_step(self) -> bool:
        """Whether it asks for a reason at most, and is confirmed as it is first shown."""
        return all(field.name == "reason" for field in self.fields)


_REASON: Final = Field("reason")
_NOTE: Final = Field("reason", is_needed=False)
ACTS: Final = (
    Act("check", "/v1/claims/{claim}/check", "claim_check", ("entered",), (_NOTE,)),
    Act(
        "approve",
        "/v1/claims/{claim}/approve",
        "approval",
        ("checked",),
        (Field("amount"), _NOTE),
    ),
    Act(
        "refuse",
        "/v1/claims/{claim}/end",
        "claim_end",
        ("entered", "checked"),
        (Field("outcome", choices=("returned", "rejected", "withdrawn")), _REASON),
    ),
    Act(
        "withdraw",
        "/v1/claims/{claim}/end",
        "claim_end",
        ("entered", "checked"),
        (_NOTE,),
        for_firm=True,
    ),
    Act(
        "notice",
        "/v1/claims/{claim}/notice",
        "notice",
        ("approved",),
        (Field("from", "date"), Field("until", "date"), Field("url", "url"), _NOTE),
    ),
    Act(
        "objection",
        "/v1/claims/{claim}/objections",
        "objection",
        ("noticed",),
        (Field("sha256"), _NOTE),
    ),
    Act(
        "resolve",
        "/v1/claims/{claim}/objections/{objection}/resolve",
        "resolution",
        ("noticed",),
        (Field("objection"), Field("outcome", choices=("dismissed", "upheld")), _REASON),
    ),
    Act(
        "revoke",
        "/v1/claims/{claim}/revoke",
        "claim_revocation",
        ("approved", "noticed"),
        (_REASON,),
    ),
    Act("order", "/v1/claims/{claim}/order", "order", ("noticed",), (_NOTE,)),
    Act(
        "payment",
        "/v1/claims/{claim}/payment",
        "payment",
        ("ordered",),
        (Field("bank_reference"), Field("paid_on", "date"), _NOTE),
    ),
    Act(
        "payment-return",
        "/v1/claims/{claim}/payment-return",
        "payment_return",
        ("paid",),
        (Field("returned_on", "date"), _REASON),
    ),
)
DISALLOWED: Final = "disallowed-"  # and the place of a paper in the claim


def acts_for(state: str, *, for_firm: bool) -> list[Act]:
    """Return what may be done with a claim in a state."""
    return [act for act in ACTS if act.for_firm == for_firm and state in act.states]


@dataclass(frozen=True, slots=True)
class Paper:
    """A paper of a claim, by the name that binds it."""

    place: int
    name: str
    date: str
    amount: str
    part: str
    disallowed: str


def papers(invoices: Iterable[Any], payments: Iterable[Any]) -> list[Paper]:
    """Return the papers of a claim in their order."""
    found = [(each.number, each.issued_on, each) for each in invoices]
    found += [(f"{each.bank}:{each.reference}", each.paid_on, each) for each in payments]
    return [
        Paper(place, name, date, each.amount, each.part, each.disallowed)
        for place, (name, date, each) in enumerate(found)
    ]


def disallowed(values: Mapping[str, str], held: Sequence[Paper]) -> list[tuple[str, str]]:
    """Return the names and yuan of papers that a form disallows."""
    found = ((each.name, values.get(f"{DISALLOWED}{each.place}", "").strip()) for each in held)
    return [(name, yuan) for name, yuan in found if yuan]


def act_body(
    act: Act, values: Mapping[str, str], held: Sequence[Paper]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the body of an act's command, and the names in its path beside the claim."""
    body: dict[str, Any] = {}
    for field in act.fields:
        text = values.get(field.name, "").strip()
        if text or field.is_needed:
            body[field.name] = text
    if act.name == "withdraw":
        body["outcome"] = "withdrawn"
    if act.name == "approve" and (parts_off := disallowed(values, held)):
        body["disallowed"] = parts_off
    names = {"objection": body.pop("objection")} if "objection" in body else {}
    return body, names


def disallowed_query(pairs: Iterable[tuple[str, str]]) -> str:
    """Return papers and yuan as the API's question takes them; what is no money is left out."""
    return ",".join(f"{name}:{yuan}" for name, yuan in pairs if _is_money(yuan))


@dataclass(frozen=True, slots=True)
class Change:
    """A figure or a state before and after an act, by the name of its word."""

    word: str
    before: str
    after: str
    is_money: bool = True


_STATE_AFTER: Final = {
    "check": "checked",
    "approve": "approved",
    "refuse": "ended",
    "withdraw": "ended",
    "notice": "noticed",
    "revoke": "ended",
    "payment": "paid",
    "payment-return": "ordered",
}


def changes(
    act: Act, claim: ClaimView, payable: PayableView, values: Mapping[str, str]
) -> list[Change]:
    """Return what an act changes, as the API's figures say."""
    after = _STATE_AFTER.get(act.name, claim.state)
    if act.name == "order":
        after = "paid" if payable.cash == ZERO else "ordered"
    found = [Change("claim_state", claim.state, after, is_money=False)]
    if act.name == "approve":
        found.append(Change("claim_approved", claim.approved, asked(values) or ZERO))
        found.append(Change("approved_in_all", payable.claimed, payable.claimed_then))
        found.append(Change("claim_cash", claim.cash, payable.cash))
    if act.name == "revoke":
        found.append(Change("claim_approved", claim.approved, ZERO))
    if act.name == "order":
        found.append(Change("claim_cash", claim.cash, payable.cash))
    return found
