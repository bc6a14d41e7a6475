"""What to report of one run, and what to take back: pure.

`plan` compares a run, as it was seen, with the slices that are held of it. Time that is missing
becomes new slices. What is wrong, because the run turned out shorter, is taken back. Only once the
ledger has taken a void is that time reported again, under the next revision: where it refused the
void, both would count. Some corrections wait for a person, for more often than not Slurm is wrong
then: see `Question`.

A slice is the part of a run with one contract, on one device kind. Its id is the run's with the
device, its start and a revision, so nothing that is reported twice counts twice.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final, Literal

from meter.agent.config import Map, Piece
from meter.agent.devices import Unvaluable
from meter.agent.slice import Rhythm, Span, covered, due, surplus, total
from meter.agent.usage import Run
from meter.values.strict import Instant
from meter.values.units import DAY_SECONDS, format_instant
from meter.wire.batch import Record

# The service takes records, and providers' voids, for so long.
MAX_AGE_SECONDS: Final = 35 * DAY_SECONDS

# Sent: no receipt yet. Held: the ledger has it. Waiting: refused for a reason that passes.
SliceStanding = Literal["sent", "held", "waiting", "refused", "voiding", "void"]
# Why a correction waits for a person: the run is gone from the accounting; it has shrunk by more
# than half; its account or devices changed; it is too old for the service to take a void; the
# service did not take one. Unseen: it ended nobody knows when, after what is reported.
Question = Literal["vanished", "shrunk", "changed", "old", "not_voided", "unseen"]


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

    @property
    def milli_device_seconds(self) -> int:
        return self.milli_devices * (self.end - self.start)

    @property
    def is_in_ledger(self) -> bool:
        """Return whether the ledger has it, or may have it."""
        return self.standing in ("sent", "held", "voiding")

    @property
    def is_stuck(self) -> bool:
        """Return whether its void was refused."""
        return self.standing == "held" and bool(self.code)

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

    @property
    def mark(self) -> str:
        """Return what differs where the trouble is another one: 8 hex digits."""
        return sha256(f"{self.code}: {self.detail}".encode()).hexdigest()[:8]


@dataclass(frozen=True, slots=True)
class Plan:
    """What changes: new slices, those to take back, and what stands in the way.

    `dropped` are slices that the ledger refused, and that would be others by the map of now. A plan
    `is_unfinished` until voids on their way are answered: then more can be reported.
    """

    slices: list[Slice] = field(default_factory=list)
    dropped: list[Slice] = field(default_factory=list)
    voids: list[Slice] = field(default_factory=list)
    quarantine: Trouble | None = None
    question: Trouble | None = None
    is_unfinished: bool = False


@dataclass(frozen=True, slots=True)
class Known:
    """What was reported of a run: its slices, and its account, partition and devices then.

    `approved` is the mark of the question to which a person said yes.
    """

    slices: Sequence[Slice] = ()
    terms: tuple[str, str, str] | None = None
    approved: str | None = None

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
    except Unvaluable as fault:
        return Plan(quarantine=Trouble(fault.code, fault.detail))
    outdated = [each for each in known.standing if _is_outdated(each, run, devices, map_)]
    held = [each for each in known.standing if each not in outdated]
    wrong, question = _wrong(run, held, known, devices, charges_suspended=charges, at=at)
    if question is not None and question.mark != known.approved:
        return Plan(question=question)
    stuck = [
        each
        for each in held
        if each.is_stuck and (each in wrong or _would_be_another(each, run, devices, map_))
    ]
    wrong = [each for each in wrong if not each.is_stuck]
    question = _not_voided(stuck)
    if question is not None and question.mark == known.approved:
        wrong, question = wrong + stuck, None
    gone = {each.id for each in wrong if not each.is_in_ledger}
    kept = [each for each in held if each.id not in gone]
    # What is being taken back is in the way until the ledger says that it is.
    kept += [each for each in known.slices if each.standing == "voiding"]
    is_unfinished = len(kept) > len(held) or len(wrong) > len(gone)
    revision = _revision(known, wrong)
    slices, quarantine = [], None
    for device, milli in devices.items():
        spans = due(run, _spans(kept, device, devices), at, rhythm, charges_suspended=charges)
        made, trouble = _cut(run, spans, device, milli, map_, revision)
        slices += made
        quarantine = quarantine or trouble
    if run.standing == "unseen":
        unseen = _unseen(run)
        question = question or (None if unseen.mark == known.approved else unseen)
    return Plan(slices, outdated, wrong, quarantine, question, is_unfinished)


def _unseen(run: Run) -> Trouble:
    seen_at = "never" if run.end is None else format_instant(run.end)
    return Trouble("unseen", f"it was last seen at {seen_at}, and nobody knows how long it ran on")


def vanished(run: Run, known: Known) -> Plan:
    """Return what to do about a reported run that a complete reading does not show."""
    if not known.standing:
        return Plan()
    question = _not_voided([each for each in known.standing if each.is_stuck])
    if question is None or not all(each.is_stuck for each in known.standing):
        seconds = covered(sorted({each.span for each in known.standing}))
        detail = f"{seconds} s are reported, and {run.id} is gone from the accounting"
        question = Trouble("vanished", detail)
    if question.mark == known.approved:
        return Plan(voids=known.standing)
    return Plan(question=question)


def _not_voided(stuck: Sequence[Slice]) -> Trouble | None:
    if not stuck:
        return None
    ids = ", ".join(each.id for each in stuck)
    codes = ", ".join(sorted({each.code for each in stuck}))
    return Trouble("not_voided", f"the service did not take the void of {ids}: {codes}")


def _revision(known: Known, wrong: Sequence[Slice]) -> int:
    """Return the revision of new slices: above that of any slice that was taken back."""
    wrong_ids = {each.id for each in wrong}
    return max(
        (
            each.revision + (each.standing in ("voiding", "void") or each.id in wrong_ids)
            for each in known.slices
        ),
        default=0,
    )


def _charges_suspended(run: Run, map_: Map) -> bool:
    rule = map_.contract(run, run.begin)
    return rule is not None and rule.suspended == "charge"


def _is_outdated(slice_: Slice, run: Run, devices: Mapping[str, int], map_: Map) -> bool:
    """Return whether a slice that was refused would be another one by the map of now.

    Not after a conflict: then its id is taken.
    """
    if slice_.standing not in ("waiting", "refused") or slice_.code == "conflict":
        return False
    return _would_be_another(slice_, run, devices, map_)


def _would_be_another(slice_: Slice, run: Run, devices: Mapping[str, int], map_: Map) -> bool:
    """Return whether a slice would have another contract or number of devices by the map of now."""
    try:
        rule = map_.contract(run, slice_.start)
    except Unvaluable:
        return False
    now = (None if rule is None else rule.contract, devices.get(slice_.device))
    return now != (slice_.contract, slice_.milli_devices)


def _wrong(  # noqa: PLR0913 - what a judgement looks at
    run: Run,
    held: Sequence[Slice],
    known: Known,
    devices: Mapping[str, int],
    *,
    charges_suspended: bool,
    at: int,
) -> tuple[list[Slice], Trouble | None]:
    """Return the slices that have to be taken back, and why a person has to see that first.

    Those whose void was refused are among them, and raise no question here. What a question tells
    is what a person approves: it is another one once any of that changes.
    """
    before = max(covered(_spans(held, each, devices)) for each in devices or [""])
    told = f"{before} s are reported"
    if run.end is not None:
        after = total(run, charges_suspended=charges_suspended)
        told += f", it ran for {after} s"
    fresh = [each for each in held if not each.is_stuck]
    if fresh and known.terms is not None and known.terms != run.terms:
        return list(held), Trouble("changed", f"{told}, it was {known.terms}, is {run.terms}")
    if run.end is None or not held:
        return [], None
    wrong_ids: set[str] = set()
    for device in devices or [""]:
        spans_held = _spans(held, device, devices)
        spans = set(surplus(run, spans_held, charges_suspended=charges_suspended))
        wrong_ids |= {each.id for each in _track(held, device, devices) if each.span in spans}
    wrong = [each for each in held if each.id in wrong_ids]
    in_question = [each for each in wrong if not each.is_stuck]
    if in_question and 2 * after < before:
        return wrong, Trouble("shrunk", told)
    # A void has to come in time, and so does what is reported again.
    ends = [min(run.end, each.end) for each in in_question if each.is_in_ledger]
    if ends and min(ends) < at - MAX_AGE_SECONDS:
        oldest = format_instant(min(ends))
        return wrong, Trouble("old", f"{told}, and what is wrong goes back to {oldest}")
    return wrong, None


def _cut(  # noqa: PLR0913, PLR0917 - what a slice is made of
    run: Run, spans: Sequence[Span], device: str, milli: int, map_: Map, revision: int
) -> tuple[list[Slice], Trouble | None]:
    """Return the slices of the stretches, up to the first instant that has no contract."""
    slices: list[Slice] = []
    try:
        for span in spans:
            for piece in map_.pieces(run, span):
                slices.append(_slice(run, piece, device, milli, revision))  # noqa: PERF401 - those before a fault stay
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


def _track(slices: Sequence[Slice], device: str, devices: Mapping[str, int]) -> list[Slice]:
    """Return the slices that tell what is reported of a device of the run.

    One whose device the map does not give the run any more may have been this one.
    """
    return [each for each in slices if each.device == device or each.device not in devices]


def _spans(slices: Sequence[Slice], device: str, devices: Mapping[str, int]) -> list[Span]:
    """Return the stretches of a device's slices."""
    return sorted({each.span for each in _track(slices, device, devices)})
