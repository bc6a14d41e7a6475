"""Questions: money moves that are lawful, and that somebody should be able to explain.

None of them is a fault, and none stops anything. The verifier and the monitor list them, and
officials ask for them (`GET /v1/questions`):

    moved          a record was voided, and the same usage posted under another contract or year
    frozen_void    a record was voided while its contract was frozen
    repeated       the same devices for the same interval, or one purchase, under two ids
    shared_run     one `run` under two contracts
    crowded        more devices at once than enlisted, in a quarter-hour whose device-time fits
    released       a withheld part counts now, beside what fitted before it
    summary_differs  a provider's newest summary of a day has other figures than the ledger then
    no_summary     a stream that sums its days up left one out, or not 36 hours after it ended

Two records are of the same usage where both name one `run`; where one names none, if both are of
one enterprise. So are two purchases of one amount and day. Questions of one kind about the same
provider and contracts are one question, with a count and the first entries: a hundred hours that
were reported twice are one thing to ask about.
Example:

    Question("moved", "pcl", ("A", "B"), 1, (41, 57, 58))
"""

from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice, pairwise
from sys import intern
from typing import Final, Literal, NamedTuple, get_args

from msgspec import UNSET, UnsetType

from meter.rules.capacity import QUARTER_SECONDS
from meter.rules.entries import (
    NO_DEVICE,
    AcceptedEntry,
    DaySummarised,
    Entry,
    PurchaseAccepted,
    RecordReleased,
    RecordVoided,
    UsageAccepted,
)
from meter.rules.measure import work_of
from meter.rules.state import State
from meter.values.units import MICROSECONDS, day_of, day_start, parse_date, year_of
from meter.values.worded import worded

QuestionKind = Literal[
    "moved",
    "frozen_void",
    "repeated",
    "shared_run",
    "crowded",
    "released",
    "summary_differs",
    "no_summary",
]
QUESTION_KINDS: Final[tuple[QuestionKind, ...]] = get_args(QuestionKind)

MEANINGS: Final[dict[QuestionKind, str]] = {
    "moved": worded("voided, and posted again under another contract or year"),
    "frozen_void": worded("voided while the contract was frozen"),
    "repeated": worded("the same devices for the same interval under two ids"),
    "shared_run": worded("one run under two contracts"),
    "crowded": worded("more devices at once than enlisted"),
    "released": worded("a withheld part was let count"),
    "summary_differs": worded("a summary of a day has other figures than the ledger"),
    "no_summary": worded("a day without a summary"),
}
SUMMARY_SECONDS: Final = 36 * 3_600  # after the end of a day, until its summary is missed
MAX_ENTRIES_NAMED: Final = 20  # of one question: enough to begin with

_QUARTER: Final = QUARTER_SECONDS * MICROSECONDS

_Quarter = tuple[str, str, int]  # provider, device kind, quarter since 1970 UTC
_Key = tuple[str | int, ...]
_Days = dict[int, tuple[int, bool]]
_Group = tuple[QuestionKind, str, tuple[str, ...]]  # kind, provider, contracts


@dataclass(frozen=True, slots=True, order=True)
class Question:
    """Something to explain: how often it was found, and the first entries that show it.

    `contracts` is empty for `crowded`, where any may be concerned, and for summaries. Days without
    one are counted; the entries are the summaries beside them.
    """

    kind: QuestionKind
    provider: str
    contracts: tuple[str, ...]
    count: int
    entries: tuple[int, ...]

    def __str__(self) -> str:
        """Return the question in words."""
        meaning, entries = MEANINGS[self.kind], ", ".join(map(str, self.entries))
        if not self.contracts:
            return worded(f"{meaning} ({self.kind}): {self.provider}: entries {entries}")
        contracts = " and ".join(self.contracts)
        return worded(
            f"{meaning} ({self.kind}): {self.provider}, contract {contracts}: entries {entries}"
        )


class _Sent(NamedTuple):
    """What is kept of a record or purchase, for there may be millions."""

    number: int
    contract: str
    run: str | UnsetType


@dataclass(slots=True)
class _Asked:
    count: int = 0
    entries: list[int] = field(default_factory=list)


class Questions:
    """The questions that a ledger's entries raise.

    `state` knows the contracts, the providers, each record that an entry voids and, when `found` is
    called, the device-time in use of `quarters` and the instant until which nothing more came.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self._asked: defaultdict[_Group, _Asked] = defaultdict(_Asked)
        self._spans: dict[_Key, _Sent] = {}
        self._runs: dict[tuple[str, str], tuple[int, str]] = {}
        self._voided: dict[_Key, tuple[_Sent, int, int]] = {}  # the void's number, the year
        # Of records that take a part of a quarter: number, from, until (seconds), thousandths.
        self._parts: dict[_Quarter, array[int]] = {}
        self._changed: set[_Quarter] = set()
        self._crowds: dict[_Quarter, list[int]] = {}
        # Of a provider's stream by day: the newest summary, and whether it differs.
        self._summaries: defaultdict[tuple[str, str], _Days] = defaultdict(dict)

    def entry(self, number: int, entry: Entry) -> None:
        """Take an entry, in the order of the ledger; `state` may be ahead of it."""
        match entry:
            case UsageAccepted():
                self._look_for_same(number, entry)
                self._usage(number, entry)
            case PurchaseAccepted():
                self._look_for_same(number, entry)
            case RecordVoided():
                self._void(number, entry)
            case RecordReleased():
                self._ask("released", entry.provider, {entry.contract}, entry.record, number)
            case DaySummarised():
                day = day_of(parse_date(entry.day))
                days = self._summaries[entry.provider, entry.stream]
                days[day] = number, entry.differing > 0
            case _:
                pass  # no other kind moves money of a record

    @property
    def quarters(self) -> Iterable[_Quarter]:
        """The quarters whose device-time in use `found` looks at."""
        return self._changed

    def found(self) -> list[Question]:
        """Return all questions, by kind, provider and contracts."""
        for quarter in self._changed:
            self._crowds[quarter] = self._crowd(quarter)
        self._changed.clear()
        of_now: defaultdict[_Group, _Asked] = defaultdict(_Asked)
        for (provider, _), days in sorted(self._summaries.items()):
            self._look_at_days(of_now, provider, days)
        for (provider, _, _), crowd in sorted(self._crowds.items()):
            if crowd:
                _add(of_now["crowded", provider, ()], crowd)
        return sorted(
            Question(*group, asked.count, tuple(asked.entries))
            for group, asked in (self._asked | of_now).items()
        )

    def _look_at_days(
        self,
        asked: defaultdict[_Group, _Asked],
        provider: str,
        days: _Days,
    ) -> None:
        """Ask about the days of one stream: those that differ, and those that are left out."""
        for day in sorted(days):
            number, differs = days[day]
            if differs:
                _add(asked["summary_differs", provider, ()], [number])
        due = day_of(self._state.last_at // MICROSECONDS - SUMMARY_SECONDS) - 1
        for day, following in pairwise([*sorted(days), max(due, *days) + 1]):
            if following > day + 1:
                _add(asked["no_summary", provider, ()], [days[day][0]], following - day - 1)

    def _look_for_same(self, number: int, accepted: AcceptedEntry) -> None:
        span, sent = _span(accepted), _sent(number, accepted)
        if self._voided:
            self._look_for_moved(sent, accepted)
        known = self._spans.get(span)
        if known is not None and self._is_same(known, sent):
            contracts = {known.contract, sent.contract}
            self._ask("repeated", accepted.provider, contracts, known.number, number)
        self._spans[span] = sent

    def _usage(self, number: int, usage: UsageAccepted) -> None:
        if usage.run is not UNSET:
            first, contract = self._runs.setdefault(
                (intern(usage.provider), intern(usage.run)), (number, intern(usage.contract))
            )
            if contract != usage.contract:
                self._ask("shared_run", usage.provider, {contract, usage.contract}, first, number)
        if usage.start % _QUARTER or usage.end % _QUARTER:  # the rest takes whole quarters only
            for quarter, part in self._ragged(number, usage):
                self._parts.setdefault(quarter, array("q")).extend(part)
                self._changed.add(quarter)

    def _look_for_moved(self, sent: _Sent, accepted: AcceptedEntry) -> None:
        for key in _keys(accepted, accepted.batch):
            if key not in self._voided:
                continue
            gone, void, year = self._voided[key]
            is_elsewhere = gone.contract != sent.contract or year != _year(accepted)
            if is_elsewhere and self._is_same(gone, sent):
                contracts, entries = {gone.contract, sent.contract}, (gone.number, void)
                self._ask("moved", accepted.provider, contracts, *entries, sent.number)
                return

    def _void(self, number: int, void: RecordVoided) -> None:
        if self._state.contracts[void.contract].frozen_at(number):
            self._ask("frozen_void", void.provider, {void.contract}, void.record, number)
        usage = self._state.records[void.provider, void.id].usage
        gone, span = _sent(void.record, usage), _span(usage)
        for key in _keys(usage, void.batch):
            self._voided[key] = gone, number, _year(usage)
        if span in self._spans and self._spans[span].number == void.record:
            del self._spans[span]
        if isinstance(usage, PurchaseAccepted):
            return
        for quarter, part in self._ragged(void.record, usage):
            if quarter in self._parts:
                self._parts[quarter] = _without(self._parts[quarter], part)
                self._changed.add(quarter)

    def _is_same(self, first: _Sent, second: _Sent) -> bool:
        """Return whether two records are of the same usage, by what the second's entry could know.

        Nobody knew then who had a contract later.
        """
        if UNSET not in (first.run, second.run):
            return first.run == second.run
        one, other = (self._state.contracts[each.contract] for each in (first, second))
        return one.enterprise_at(second.number) == other.enterprise_at(second.number)

    def _ragged(self, number: int, usage: UsageAccepted) -> Iterator[tuple[_Quarter, "array[int]"]]:
        """Yield the first and last quarter of a record, where it takes a part of them only.

        Whole quarters need no look: what is in use there never exceeds what is enlisted. What is
        withheld is reviewed anyway, and what is not enlisted has no limit.
        """
        if usage.withheld is not UNSET:
            return
        work, fitting = work_of(usage), {day for day, _ in usage.fits}
        needed = self._state.contracts[usage.contract].policy.enlistment_required
        for place in sorted({work.start // QUARTER_SECONDS, (work.end - 1) // QUARTER_SECONDS}):
            begin = place * QUARTER_SECONDS
            start, until = max(work.start, begin), min(work.end, begin + QUARTER_SECONDS)
            if until - start == QUARTER_SECONDS or day_of(begin) not in fitting:
                continue
            if needed or self._enlisted(usage.provider, usage.device, begin):
                part = array("q", (number, start, until, work.milli_devices))
                yield (usage.provider, usage.device, place), part

    def _enlisted(self, provider: str, device: str, moment: int) -> int:
        """Return how many devices of a kind a provider has enlisted at a moment."""
        capacity = self._state.providers[provider].capacity(device)
        return sum(count for start, end, count in capacity if start <= moment < end)

    def _crowd(self, quarter: _Quarter) -> list[int]:
        """Return the records that were at work at once where they were more than is enlisted."""
        provider, device, place = quarter
        parts = list(_parts(self._parts[quarter]))
        begin = place * QUARTER_SECONDS
        enlisted = self._enlisted(provider, device, begin)
        in_use = self._state.in_use.get(("provider", provider, device))
        used = in_use.at(place) if in_use else 0
        ragged = sum((until - start) * milli for _, start, until, milli in parts)
        beside = max(0, used - ragged) // QUARTER_SECONDS  # thousandths, the whole quarter long
        moment = _first_above(parts, enlisted * 1_000 - beside)
        at_once = (number for number, start, until, _ in parts if start <= moment < until)
        return list(islice(at_once, MAX_ENTRIES_NAMED))

    def _ask(self, kind: QuestionKind, provider: str, contracts: set[str], *entries: int) -> None:
        _add(self._asked[kind, provider, tuple(sorted(contracts))], entries)


def _add(asked: _Asked, entries: Iterable[int], count: int = 1) -> None:
    asked.count += count
    if len(asked.entries) < MAX_ENTRIES_NAMED:
        asked.entries += [each for each in entries if each not in asked.entries]


def _sent(number: int, accepted: AcceptedEntry) -> _Sent:
    run = _run(accepted)
    return _Sent(number, intern(accepted.contract), run if run is UNSET else intern(run))


def _span(accepted: AcceptedEntry) -> _Key:
    provider = intern(accepted.provider)
    if isinstance(accepted, PurchaseAccepted):
        dates = accepted.delivered_on, *(accepted.service or ())
        return provider, "purchase", accepted.amount, *dates
    usage = accepted
    return provider, intern(usage.device), usage.milli_devices, usage.start, usage.end


def _keys(accepted: AcceptedEntry, batch: object) -> Iterator[_Key]:
    """Yield the keys by which voided usage is known again: interval, run, or amending batch."""
    yield _span(accepted)
    size: _Key
    if isinstance(accepted, PurchaseAccepted):
        size = NO_DEVICE, accepted.amount
    else:
        size = accepted.device, accepted.milli_devices, accepted.end - accepted.start
    run = _run(accepted)
    if run is not UNSET:
        yield ("run", accepted.provider, run, *size)
    if isinstance(batch, int):
        yield ("batch", batch, *size)


def _run(accepted: AcceptedEntry) -> str | UnsetType:
    return UNSET if isinstance(accepted, PurchaseAccepted) else accepted.run


def _year(accepted: AcceptedEntry) -> int:
    """Return the year of the first day on which it counts."""
    if isinstance(accepted, PurchaseAccepted):
        return year_of(day_start(accepted.first_day))
    return year_of(accepted.start // MICROSECONDS)


def _parts(parts: "array[int]") -> Iterator[tuple[int, int, int, int]]:
    return zip(parts[::4], parts[1::4], parts[2::4], parts[3::4], strict=True)


def _first_above(parts: Iterable[tuple[int, int, int, int]], limit: int) -> int:
    """Return the first moment at which more thousandths are at work than a limit, or -1."""
    change: defaultdict[int, int] = defaultdict(int)
    for _, start, until, milli_devices in parts:
        change[start] += milli_devices
        change[until] -= milli_devices
    at_work = 0
    for moment in sorted(change):
        at_work += change[moment]
        if at_work > limit:
            return moment
    return -1


def _without(parts: "array[int]", part: "array[int]") -> "array[int]":
    return array("q", (item for each in _parts(parts) if each[0] != part[0] for item in each))
