r"""The list for the bank, and its results: one CSV, which goes out and comes back.

    claim,payee,name,amount,order,result,bank_reference,date,reason
    CL-2025-0001,91440300708461136T,深圳某某科技有限公司,400000.00,41,,,,

A line is one ordered claim: its id, whom to pay, that firm's name, yuan, and the number of the
entry that set them last. The bank, or whoever speaks with it, fills in the rest: `result` is
`paid` or `returned`, `bank_reference` its own number of the payment, `date` that of the payment or
its return, `reason` why it was returned. A line without a result is left for later. Columns may
stand in any order, and further ones may be there. Spreadsheets may write `400000` and `2025/6/1`;
both are read.
"""

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from io import StringIO
from typing import Final, Literal

from meter.api.responses import ClaimView
from meter.console.csv_file import csv_file
from meter.values.problems import Problem
from meter.values.strict import is_id
from meter.values.units import parse_date

COLUMNS: Final = (
    *("claim", "payee", "name", "amount", "order"),
    *("result", "bank_reference", "date", "reason"),
)
NEEDED: Final = ("claim", "payee", "amount", "result", "bank_reference", "date")
MAX_LINES: Final = 1_000
Plan = Literal["pay", "return", "known", "nothing"]
_RESULTS: Final = ("", "paid", "returned")
_AMOUNT: Final = re.compile(r"[0-9]{1,13}(\.[0-9]{1,2})?", re.ASCII)
_DATE: Final = re.compile(r"([0-9]{4})[-/]([0-9]{1,2})[-/]([0-9]{1,2})", re.ASCII)
_ESCAPED: Final = re.compile(r"'(?=[=+\-@\t\r])")


@dataclass(frozen=True, slots=True)
class Due:
    """A claim that waits for the bank."""

    claim: str
    payee: str
    name: str
    amount: str
    order: str


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the results, by its number in the file; `date` is a Shanghai date."""

    number: int
    claim: str
    payee: str
    amount: str
    result: str
    bank_reference: str
    date: str
    reason: str


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a line, with a code that stays."""

    number: int
    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class Planned:
    """A line, and what is done for it; `path` shows what became of it.

    `others` are claims that were paid under its reference before, which somebody should look at.
    """

    line: Line
    plan: Plan
    path: str = ""
    others: tuple[str, ...] = ()
    problem: Problem | None = None


def write(due: Iterable[Due]) -> bytes:
    """Return the list for the bank."""
    rows = (
        [each.claim, each.payee, each.name, each.amount, each.order, "", "", "", ""] for each in due
    )
    return csv_file(COLUMNS, rows)


def read(text: str) -> tuple[list[Line], list[Fault]]:
    """Return the lines of a file that can be read, and what is wrong with the others.

    Raises `malformed` for a file that is no such list, `too_large` for one of too many lines.
    """
    try:
        # A browser sends what a page shows with other ends of lines than the file had.
        plain = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
        rows = list(csv.reader(StringIO(plain, newline=""), strict=True))
    except csv.Error as error:
        raise Problem("malformed", f"the file is no CSV: {error}") from None
    head = [cell.strip() for cell in rows[0]] if rows else []
    lacking = [name for name in NEEDED if head.count(name) != 1]
    if lacking:
        raise Problem("malformed", f"the first line names each of {', '.join(NEEDED)} once")
    if len(rows) - 1 > MAX_LINES:
        raise Problem("too_large", f"more than {MAX_LINES} lines: divide the file")
    lines, faults = [], []
    for number, cells in enumerate(rows[1:], 2):
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(head):
            faults.append(Fault(number, "bad_columns", f"{len(cells)} cells, {len(head)} columns"))
            continue
        line = _line(number, dict(zip(head, map(_unescaped, cells), strict=True)))
        found = list(_faults(line))
        faults += found
        lines += [] if found else [line]
    return lines, [*faults, *_twice(lines)]


def _unescaped(cell: str) -> str:
    return _ESCAPED.sub("", cell.strip(), count=1) if cell.strip()[:1] == "'" else cell.strip()


def _line(number: int, cells: dict[str, str]) -> Line:
    return Line(
        number=number,
        claim=cells["claim"],
        payee=cells["payee"],
        amount=_money(cells["amount"]),
        result=cells["result"].lower(),
        bank_reference=cells["bank_reference"],
        date=_day(cells["date"]),
        reason=cells.get("reason", ""),
    )


def _money(text: str) -> str:
    """`400000` -> `400000.00`; what is no amount stays."""
    if not _AMOUNT.fullmatch(text):
        return text
    yuan, _, rest = text.partition(".")
    return f"{int(yuan)}.{rest:0<2}"


def _day(text: str) -> str:
    """`2025/6/1` -> `2025-06-01`; what is no date stays."""
    found = _DATE.fullmatch(text)
    return f"{found[1]}-{int(found[2]):02}-{int(found[3]):02}" if found else text


def _faults(line: Line) -> Iterator[Fault]:
    """Yield what is wrong with a line as such."""
    if not is_id(line.claim):
        yield Fault(line.number, "unknown_claim", f"{line.claim:.40} is no id of a claim")
        return
    if line.result not in _RESULTS:
        yield Fault(line.number, "bad_result", f"{line.result:.40} is neither paid nor returned")
        return
    if not line.result:
        return
    if not is_id(line.bank_reference):
        yield Fault(line.number, "bad_reference", "1 to 64 of letters, digits and . _ - are needed")
    try:
        parse_date(line.date)
    except ValueError:
        yield Fault(line.number, "bad_dates", f"{line.date:.40} is no date")
    if line.result == "returned" and not line.reason:
        yield Fault(line.number, "bad_result", "what is returned has a reason")


def _twice(lines: Sequence[Line]) -> Iterator[Fault]:
    """Yield a fault for each claim or reference that a line before names."""
    claims: dict[str, int] = {}
    references: dict[str, int] = {}
    for line in lines:
        if line.claim in claims:
            detail = f"line {claims[line.claim]} is about {line.claim} too"
            yield Fault(line.number, "line_twice", detail)
        claims.setdefault(line.claim, line.number)
        if not line.result:
            continue
        if line.bank_reference in references:
            detail = f"line {references[line.bank_reference]} has it too"
            yield Fault(line.number, "reference_used", detail)
        references.setdefault(line.bank_reference, line.number)


def plan(line: Line, claim: ClaimView, today: str) -> Planned | Fault:
    """Return what is done for a line as its claim stands, or what is wrong with it.

    What was booked before is known, and booked no second time, whatever became of it since.
    """
    if not line.result:
        return Planned(line, "nothing")
    if line.payee != claim.payee:
        return Fault(line.number, "wrong_payee", f"{claim.payee or 'nobody'} is paid")
    found = _paid(line, claim) if line.result == "paid" else _returned(line, claim)
    if isinstance(found, Fault) or found.plan == "known":
        return found
    if line.amount != claim.cash:
        return Fault(line.number, "wrong_amount", f"{claim.cash} are to be paid")
    if line.date > today:
        return Fault(line.number, "bad_dates", f"{line.date} is after {today}")
    return found


def _paid(line: Line, claim: ClaimView) -> Planned | Fault:
    booked = {each.bank_reference: each.paid_on for each in claim.booked}
    if line.bank_reference in booked:
        paid_on = booked[line.bank_reference]
        if paid_on != line.date:
            return Fault(line.number, "exists_differently", f"it was entered as paid on {paid_on}")
        return Planned(line, "known", f"claims/{claim.id}")
    return _in_state(line, claim, "ordered", "pay")


def _returned(line: Line, claim: ClaimView) -> Planned | Fault:
    references = [each.bank_reference for each in claim.booked]
    if line.bank_reference not in references:
        return Fault(line.number, "wrong_state", f"no payment {line.bank_reference} was entered")
    if claim.state == "ordered" or line.bank_reference != references[-1]:
        return Planned(line, "known", f"claims/{claim.id}")
    return _in_state(line, claim, "paid", "return")


def _in_state(line: Line, claim: ClaimView, state: str, planned: Plan) -> Planned | Fault:
    if claim.state != state:
        return Fault(line.number, "wrong_state", f"claim {claim.id} is {claim.state}")
    return Planned(line, planned)
