"""A statement: what the entries of one month booked for a contract, a firm or a provider.

An entry is booked in the Shanghai month of its `at`, whatever month its usage is of; what it books
of service that began in an earlier month, or changes of what was booked, is a correction that lands
in the open month and names its month of service. Each line is an entry; each amount names its
entries; the totals are the sums of both. A month that is over is over for ever: its statement is
the same at every later size.

    {"v":1,"month":"2025-03","subject":{"kind":"firm","id":"9144…","name":"甲机器人"},"over":true,
     "first":10,"last":40,"totals":{"cost":"288.00",…},
     "amounts":[{"contract":"A","service":"2025-02","correction":true,"figures":{…},"entries":[[12,14]]}],
     "lines":[{"entry":12,"at":"2025-03-01T12:00:00+08:00","kind":"usage","id":"r1","contract":"A",
               "service":"2025-02","correction":true,"figures":{"cost":"288.00",…}}]}

What a provider reads, of itself or of a contract, tells costs alone (`views/told.py`). `service` is
a month, the first and last month `2025-12/2026-01` of what lies in several, or the year of a coupon
for what concerns no month; it is empty for a change of all that a contract has used.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final, Literal, NamedTuple, assert_never

from msgspec import UNSET, Struct, UnsetType

from ledger import canon
from meter.rules.contract_terms import original_terms
from meter.rules.entries import (
    AnyEntry,
    ClaimStep,
    ContractAmended,
    ContractFunded,
    PurchaseAccepted,
    RecordEntry,
    RecordReleased,
    RecordVoided,
    UsageAccepted,
)
from meter.rules.state import State
from meter.values.problems import Problem
from meter.values.units import DAY_SECONDS, MICROSECONDS, format_date, format_moment, format_money
from meter.views.movements import add_to, movements, provider_of

SubjectKind = Literal["contract", "firm", "provider"]
RecordOf = Callable[[int], AnyEntry]  # the entry of a record by its number
_OfContract = RecordEntry | ContractAmended | ContractFunded
_CHANGES: Final = RecordVoided | RecordReleased | ContractAmended | ContractFunded
_PROVIDER_FIGURES: Final = ("cost", "withheld", "ineligible")
FIGURES: Final = (*_PROVIDER_FIGURES, "entitled", "issued", "granted", "claimed", "paid")


class Subject(NamedTuple):
    """Whose statement it is, by its id; a contract may be an award too.

    `costs_alone` is for a provider that reads of a contract.
    """

    kind: SubjectKind
    id: str
    costs_alone: bool = False

    @property
    def figures(self) -> tuple[str, ...]:
        """The figures that its statement tells."""
        is_for_provider = self.costs_alone or self.kind == "provider"
        return _PROVIDER_FIGURES if is_for_provider else FIGURES


class StatementSubject(Struct, frozen=True):
    """Whose statement it is, with the name at the end of the month."""

    kind: SubjectKind
    id: str
    name: str


class StatementFigures(Struct, frozen=True):
    """Changes in yuan: withheld and ineligible are parts of the cost."""

    cost: str
    withheld: str
    ineligible: str
    entitled: str | UnsetType = UNSET
    issued: str | UnsetType = UNSET
    granted: str | UnsetType = UNSET
    claimed: str | UnsetType = UNSET
    paid: str | UnsetType = UNSET


class StatementAmount(Struct, frozen=True):
    """What was booked under one contract for one time of service, and by which entries."""

    contract: str
    service: str
    correction: bool
    figures: StatementFigures
    entries: list[tuple[int, int]]


class StatementLine(Struct, frozen=True):
    """What one entry booked under one contract for one time of service."""

    entry: int
    at: str
    kind: str
    id: str
    contract: str
    service: str
    correction: bool
    figures: StatementFigures


class Statement(Struct, frozen=True, kw_only=True):
    """The whole of it; `first` and `last` are the ledger's entries of the month, if it has any."""

    month: str
    subject: StatementSubject
    over: bool
    first: int | UnsetType = UNSET
    last: int | UnsetType = UNSET
    totals: StatementFigures
    amounts: list[StatementAmount]
    lines: list[StatementLine]
    v: int = 1


@dataclass(frozen=True, slots=True)
class Month:
    """A month `2025-03`, the ledger's numbers `[first, stop)` of it, and whether it is over."""

    name: str
    first: int
    stop: int
    over: bool


def statement(
    state: State,
    month: Month,
    subject: Subject,
    entries: Iterable[tuple[int, AnyEntry]],
    record_of: RecordOf,
) -> Statement:
    """Return the statement of a subject by the entries of a month, in order.

    Entries that do not concern it may be among them. Raises `Problem` `unknown_contract`,
    `unknown_enterprise` and `unknown_provider`.
    """
    making = Making(state, month, subject, record_of)
    for number, entry in entries:
        making.add(number, entry)
    return making.made()


class Making:
    """A statement that is made entry by entry, so that others are served between two of them.

    Raises `Problem` as `statement`.
    """

    def __init__(self, state: State, month: Month, subject: Subject, record_of: RecordOf) -> None:
        self._state, self._month, self._subject, self._record_of = state, month, subject, record_of
        self._view = StatementSubject(subject.kind, subject.id, _name(state, subject, month.stop))
        self._lines: list[StatementLine] = []
        self._totals: dict[str, int] = defaultdict(int)
        self._amounts: dict[tuple[str, str, bool], _Sum] = defaultdict(_Sum)

    def add(self, number: int, entry: AnyEntry) -> None:
        """Add what the next entry books."""
        numbered = number, entry
        for line in _lines(self._state, self._month.name, self._subject, numbered, self._record_of):
            held = self._amounts[line.contract, line.service, line.correction]
            add_to(held.entries, line.entry)
            for figure, fen in line.fen.items():
                self._totals[figure] += fen
                held.fen[figure] += fen
            self._lines.append(_shown(line, self._subject))

    def made(self) -> Statement:
        """Return the statement of the entries that were added."""
        month, subject = self._month, self._subject
        has_entries = month.first < month.stop
        return Statement(
            month=month.name,
            subject=self._view,
            over=month.over,
            first=month.first if has_entries else UNSET,
            last=month.stop - 1 if has_entries else UNSET,
            totals=_figures(subject, self._totals),
            amounts=[
                StatementAmount(
                    *key, _figures(subject, held.fen), [(one, last) for one, last in held.entries]
                )
                for key, held in sorted(self._amounts.items())
            ],
            lines=self._lines,
        )


def digest(found: Statement) -> str:
    """Return the hex sha256 of a statement's canonical JSON (RFC 8785)."""
    return sha256(canon.encode(found)).hexdigest()


def record_named(entry: AnyEntry) -> int | None:
    """Return the number of the record whose service an entry's line names, if it changes one."""
    return entry.record if isinstance(entry, RecordVoided | RecordReleased) else None


@dataclass(slots=True)
class _Sum:
    """Fen by figure, and the entries that they are of."""

    fen: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    entries: list[list[int]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Line:
    """A line in fen; `at` in microseconds."""

    entry: int
    at: int
    kind: str
    id: str
    contract: str
    service: str
    correction: bool
    fen: dict[str, int]


def _shown(line: _Line, subject: Subject) -> StatementLine:
    return StatementLine(
        line.entry,
        format_moment(line.at),
        line.kind,
        line.id,
        line.contract,
        line.service,
        line.correction,
        _figures(subject, line.fen),
    )


def _lines(
    state: State,
    month: str,
    subject: Subject,
    numbered: tuple[int, AnyEntry],
    record_of: RecordOf,
) -> Iterator[_Line]:
    """Yield a line for each contract and time of service for which an entry books something."""
    number, entry = numbered
    service = _service(entry, record_of)
    own = entry.contract if isinstance(entry, _OfContract) else ""
    sums: dict[tuple[str, str], dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for contract, figure, year, fen in _booked(state, subject, number, entry):
        time = service if contract == own and service else str(year or "")
        sums[contract, time][figure] += fen
    for (contract, time), fen_by_figure in sums.items():
        yield _Line(
            number,
            entry.at,
            entry.kind,
            _id(entry, is_own=contract == own),
            contract,
            time,
            isinstance(entry, _CHANGES) or (contract == own and "" < service[:7] < month),
            fen_by_figure,
        )


def _booked(
    state: State, subject: Subject, number: int, entry: AnyEntry
) -> Iterator[tuple[str, str, int, int]]:
    """Yield contract, figure, year and fen of what an entry books for a subject."""
    for moved in movements(state, number, entry):
        ids = {"contract": moved.item, "firm": moved.enterprise, "provider": moved.provider}
        if ids[subject.kind] == subject.id and moved.figure in subject.figures:
            yield moved.item, moved.figure, moved.year, moved.fen
    if isinstance(entry, _OfContract) and subject.id == _whose(state, subject, number, entry):
        for figure, year, fen in _metered(entry):
            if fen and figure in subject.figures:
                yield entry.contract, figure, year, fen


def _whose(state: State, subject: Subject, number: int, entry: _OfContract) -> str:
    """Return the contract of an entry, or its firm or provider after it."""
    match subject.kind:
        case "contract":
            return entry.contract
        case "firm":
            return state.owner_of(entry.contract, number + 1)
        case "provider":
            return provider_of(state, entry.contract)
        case unknown:
            assert_never(unknown)


def _metered(entry: _OfContract) -> Iterator[tuple[str, int, int]]:
    """Yield figure, year (0 for none) and fen of what no posting moves."""
    yield from (("entitled", year, fen) for year, fen in entry.entitled)
    if not isinstance(entry, ContractFunded):
        yield "withheld", 0, 0 if entry.withheld_cost is UNSET else entry.withheld_cost
        reasons = [] if entry.ineligible is UNSET else entry.ineligible
        yield "ineligible", 0, sum(fen for _, fen in reasons)


def _service(entry: AnyEntry, record_of: RecordOf) -> str:
    """Return the month or months of service of the record that an entry accepts or changes."""
    named = record_named(entry)
    record = entry if named is None else record_of(named)
    if isinstance(record, UsageAccepted):
        first, last = record.start // MICROSECONDS, record.end // MICROSECONDS - 1
    elif isinstance(record, PurchaseAccepted):
        days = record.service if record.by_days else None
        first, end = days or (record.end // MICROSECONDS - DAY_SECONDS, record.end // MICROSECONDS)
        last = end - 1
    else:
        return ""
    months = format_date(first)[:7], format_date(last)[:7]
    return "/".join(dict.fromkeys(months))


def _id(entry: AnyEntry, *, is_own: bool) -> str:
    """Return the id of the record or claim that an entry is about; a record's for its own alone."""
    if isinstance(entry, ClaimStep):
        return entry.claim
    return entry.id if is_own and isinstance(entry, RecordEntry) else ""


def _name(state: State, subject: Subject, size: int) -> str:
    """Return the name of a subject, or the number of a contract. Raises `Problem`."""
    kind, name, _ = subject
    if kind == "firm" and name in state.enterprises:
        return state.enterprises[name].facts_at(size).name
    if kind == "provider" and name in state.providers:
        return state.providers[name].facts_at(size).name
    if kind == "contract" and name in state.contracts:
        contract = state.contracts[name]
        corrections = (entry for number, entry in contract.amendments if number < size)
        return original_terms(contract.registered, corrections).contract_no
    if kind == "contract" and name in state.awards:
        return name
    called = "enterprise" if kind == "firm" else kind
    raise Problem(f"unknown_{called}", f"no {called} {name:.80}")


def _figures(subject: Subject, fen: dict[str, int]) -> StatementFigures:
    return StatementFigures(
        **{figure: format_money(fen.get(figure, 0)) for figure in subject.figures}
    )
