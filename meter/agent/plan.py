"""What to report of one run, and what to take back: pure.

`plan` compares a run, as it was seen, with the slices that are held of it. Time that is missing
becomes new slices. What is wrong, because the run turned out shorter, is taken back and reported
again under the next revision. Some corrections wait for a person, for more often than not Slurm is
wrong then: see `Question`.

A slice is the part of a run with one contract, on one device kind. Its id is the run's with the
device, its start and a revision, so nothing that is reported twice counts twice.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from meter.agent.config import Map, Piece
from meter.agent.devices import Unvaluable
from meter.agent.slice import Rhythm, Span, due, surplus, total
from meter.agent.usage import Run
from meter.values.strict import Instant
from meter.values.units import DAY_SECONDS
from meter.wire.batch import Record

# The service takes records, and providers' voids, for so long.
MAX_AGE_SECONDS: Final = 35 * DAY_SECONDS

# Sent: no receipt yet. Held: the ledger has it. Waiting: refused for a reason that passes.
SliceStanding = Literal["sent", "held", "waiting", "refused", "voiding", "void"]
# Why a correction waits for a person: the run is gone from the accounting; it has shrunk by more
# than half; its account or devices changed; it is too old for the service to take a void.
Question = Literal["vanished", "shrunk", "changed", "old"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """A record that was planned, and what became of it; `code` says why something was refused.

    That is the record, or where the ledger holds it, its void.
    """

    id: str
    run: str
    contract: str
    device: str
    milli_devices: int
    start: int
    end: int
    revision: int
    state: str
    final: bool
    standing: SliceStanding = "sent"
    code: str = ""

    @property
    def span(self) -> Span:
        return self.start, self.end

    def record(self) -> Record:
        """Return what is sent."""
        return Record(
            id=self.id,
            contract=self.contract,
            device=self.device,
            milli_devices=self.milli_devices,
            start=Instant(self.start),
            end=Instant(self.end),
            run=self.run,
            state=self.state,
            final=self.final,
        )


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a run, or a part of it, is not reported."""

    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What changes: new slices, those to take back, and what stands in the way.

    `dropped` are slices that the ledger refused, and that would be others by the map of now.
    """

    slices: list[Slice] = field(default_factory=list)
    dropped: list[Slice] = field(default_factory=list)
    voids: list[Slice] = field(default_factory=list)
    quarantine: Trouble | None = None
    question: Trouble | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """What was reported of a run: its slices, and its account, partition and devices then."""

    slices: Sequence[Slice] = ()
    terms: tuple[str, str, str] | None = None
    is_approved: bool = False
    question: str | None = None

    @property
    def standing(self) -> list[Slice]:
        """Return the slices that are not taken back."""
        return [each for each in self.slices if each.standing not in ("voiding", "void")]


def plan(run: Run, known: Known, map_: Map, rhythm: Rhythm, at: int) -> Plan:
    """Return what a reading `at` some time changes for a run."""
    if run.standing == "twice":
        return Plan(quarantine=Trouble("twice", "one reading shows two rows of this run"))
    if run.standing == "doubtful":
        return Plan()
    try:
        devices = map_.devices(run)
        charges = _charges_suspended(run, map_) if devices else False
    except Unvaluable as wrong:
        return Plan(quarantine=Trouble(wrong.code, wrong.detail))
    outdated = [each for each in known.standing if _is_outdated(each, run, devices, map_)]
    held = [each for each in known.standing if each not in outdated]
    wrong_ones, question = _wrong(run, held, known, charges_suspended=charges, at=at)
    if question is not None and not known.is_approved:
        return Plan(question=question)
    kept = [each for each in held if each not in wrong_ones]
    revision = _revision(known, wrong_ones)
    spans = due(run, _spans(kept), at, rhythm, charges_suspended=charges) if devices else []
    slices, quarantine = _cut(run, spans, devices, map_, revision)
    return Plan(slices, outdated, wrong_ones, quarantine)


def vanished(run: Run, known: Known) -> Plan:
    """Return what to do about a reported run that a complete reading does not show."""
    if not known.standing:
        return Plan()
    if known.is_approved:
        return Plan(voids=known.standing)
    return Plan(question=Trouble("vanished", f"{run.id} is gone from the accounting"))


def _revision(known: Known, wrong: Sequence[Slice]) -> int:
    """Return the revision of new slices: above that of any slice that was taken back."""
    gone = [each for each in known.slices if each not in known.standing or each in wrong]
    least = [each.revision for each in known.slices] + [each.revision + 1 for each in gone]
    return max(least, default=0)


def _charges_suspended(run: Run, map_: Map) -> bool:
    rule = map_.contract(run, run.begin)
    return rule is not None and rule.suspended == "charge"


def _is_outdated(slice_: Slice, run: Run, devices: Mapping[str, int], map_: Map) -> bool:
    """Return whether a slice that was refused would be another one by the map of now.

    Not after a conflict: then its id is taken.
    """
    if slice_.standing not in ("waiting", "refused") or slice_.code == "conflict":
        return False
    try:
        rule = map_.contract(run, slice_.start)
    except Unvaluable:
        return False
    now = (None if rule is None else rule.contract, devices.get(slice_.device))
    return now != (slice_.contract, slice_.milli_devices)


def _wrong(
    run: Run, held: Sequence[Slice], known: Known, *, charges_suspended: bool, at: int
) -> tuple[list[Slice], Trouble | None]:
    """Return the slices that have to be taken back, and why a person has to see that first."""
    if held and known.terms is not None and known.terms != run.terms:
        return list(held), Trouble("changed", f"was {known.terms}, is {run.terms}")
    if run.end is None or not held:
        return [], None
    spans_held = _spans(held)
    spans = surplus(run, spans_held, charges_suspended=charges_suspended)
    wrong = [each for each in held if each.span in spans]
    before, after = _seconds(spans_held), total(run, charges_suspended=charges_suspended)
    if wrong and 2 * after < before:
        return wrong, Trouble("shrunk", f"{before} s are reported, it ran for {after} s")
    is_refused = any(each.code for each in wrong if each.standing == "held")  # a void was
    if wrong and (run.end < at - MAX_AGE_SECONDS or is_refused):
        return wrong, Trouble("old", f"it ended {(at - run.end) // DAY_SECONDS} days ago")
    return wrong, None


def _cut(
    run: Run, spans: Sequence[Span], devices: Mapping[str, int], map_: Map, revision: int
) -> tuple[list[Slice], Trouble | None]:
    """Return the slices of the stretches, up to the first instant that has no contract."""
    slices: list[Slice] = []
    try:
        for span in spans:
            for piece in map_.pieces(run, span):
                slices += [
                    _slice(run, piece, device, milli, revision) for device, milli in devices.items()
                ]
    except Unvaluable as wrong:
        return slices, Trouble(wrong.code, wrong.detail)
    return slices, None


def _slice(run: Run, piece: Piece, device: str, milli_devices: int, revision: int) -> Slice:
    start, end = piece.span
    return Slice(
        id=f"{run.id}:{device}:{start}:{revision}",
        run=run.id,
        contract=piece.contract,
        device=device,
        milli_devices=milli_devices,
        start=start,
        end=end,
        revision=revision,
        state=run.state,
        final=end == run.end,
    )


def _spans(slices: Sequence[Slice]) -> list[Span]:
    """Return the stretches of slices; those on several devices are one."""
    return sorted({each.span for each in slices})


def _seconds(spans: Sequence[Span]) -> int:
    return sum(end - start for start, end in spans)
