"""The agent's spool: a SQLite file with all that the agent knows, and the outbox of its reporter.

The file is written through to the disk at each change (WAL, `synchronous=FULL`), belongs to one
process at a time, and to one stream. What a reading changed, the batches of it and how far the
reading came move in one transaction; a receipt and its results in the next. So the spool never lags
behind what was posted, and a number that it gives is taken by nobody else.
"""

import contextlib
import json
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import Any, Final

from msgspec import UNSET

from ledger.files import lock, make_private, open_private
from ledger.queries import load, script
from meter.agent.plan import Known, Plan, Slice, SliceStanding, Trouble
from meter.agent.spool import NotTaken, Waiting, write_file
from meter.agent.usage import FilePart, Run, Standing
from meter.client import ClientError, Stream, VerifiedReceipt
from meter.values.strict import decode
from meter.values.units import day_of, parse_date
from meter.wire.batch import Batch
from meter.wire.receipt import PASSING_CODES, Accepted, Conflict, Duplicate, Rejected
from meter.wire.stored_receipt import StoredReceipt

_PAUSE_SECONDS: Final = 0.1
_SQL: Final = load("meter.agent", "store.sql")


@dataclass(frozen=True, slots=True)
class Held:
    """A run that is not reported as it stands, and why; `seconds` is its known length."""

    run: str
    account: str
    allocation: str
    seconds: int
    trouble: Trouble

    @property
    def name(self) -> str:
        """Return what a person approves: the run, and the trouble as it is told."""
        return f"{self.run}@{self.trouble.mark}"


@dataclass(frozen=True, slots=True)
class RunOfDay:
    """A run within a day: the seconds of it that the run had, and how it stands."""

    seconds: int
    is_quarantined: bool
    is_doubtful: bool
    is_refused: bool
    is_reported: bool


class Spool:
    """The spool of one stream; it is the `Outbox` of a reporter. Raises `ClientError` `spool`."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._depth = 0

    # The outbox

    def open(self, stream: Stream) -> None:
        make_private(self._file.parent)
        try:
            self._lock = lock(self._file.parent)
        except BlockingIOError:
            raise ClientError("in_use", f"{self._file} is in use by another process") from None
        try:
            self._open(stream)
        except BaseException:
            self.close()
            raise

    def _open(self, stream: Stream) -> None:
        with contextlib.suppress(FileExistsError):
            open_private(self._file, new=True).close()
        self._connect()
        own = json.dumps([stream.log, stream.genesis, stream.provider, stream.name])
        with self.change():
            known = self.fact("stream")
            if known is None:
                self.set_fact("stream", own)
            elif known != own:
                raise ClientError("other_stream", f"{self._file} is the spool of {known}")
        (last_seq,) = self._one("last_seq")
        stream.last_seq = max(stream.last_seq, last_seq, int(self.fact("last_seq") or 0))

    def _connect(self) -> None:
        with _faults(self._file):
            self._db = sqlite3.connect(self._file, isolation_level=None)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.execute("PRAGMA foreign_keys = ON")
            self._db.executescript(script("meter.agent", "schema.sql"))

    @classmethod
    @contextlib.contextmanager
    def looking(cls, file: Path) -> Iterator["Spool"]:
        """Open a spool to look at it, whoever uses it. Raises `ClientError` `spool`."""
        spool = cls(file)
        with _faults(file):
            spool._db = sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)
            try:
                yield spool
            finally:
                spool._db.close()

    @classmethod
    @contextlib.contextmanager
    def changing(cls, file: Path, patience_seconds: float) -> Iterator["Spool"]:
        """Open a spool that is there to change it, waiting for who uses it.

        Raises `ClientError` `in_use` or `spool`.
        """
        with cls.looking(file):
            pass
        until = time.monotonic() + patience_seconds
        spool = cls(file)
        while True:
            try:
                spool._lock = lock(file.parent)
            except BlockingIOError:
                if time.monotonic() > until:
                    raise ClientError("in_use", f"{file} is in use by another process") from None
                time.sleep(_PAUSE_SECONDS)
            else:
                break
        try:
            spool._connect()
            yield spool
        finally:
            spool.close()

    def close(self) -> None:
        if hasattr(self, "_db"):
            self._db.close()
        os.close(self._lock)

    @contextlib.contextmanager
    def change(self, *, is_undone: bool = False) -> Iterator[None]:
        """Make all changes within, or none; they are on the disk once it ends.

        One that `is_undone` is made for its result, and leaves nothing.
        """
        if self._depth:
            yield
            return
        self._depth += 1
        try:
            with _faults(self._file):
                self._db.execute("BEGIN IMMEDIATE")
                try:
                    yield
                except BaseException:
                    if self._db.in_transaction:  # a full disk ended it already
                        self._db.execute("ROLLBACK")
                    raise
                self._db.execute("ROLLBACK" if is_undone else "COMMIT")
        finally:
            self._depth -= 1

    def unsent(self) -> Sequence[int]:
        return [seq for (seq,) in self._all("unsent")]

    def payload(self, seq: int) -> bytes:
        (payload,) = self._one("payload", seq)
        return bytes(payload)

    def put(self, seq: int, payload: bytes) -> None:
        with self.change():
            now, batch = int(time.time()), json.loads(payload)
            self._do("put_batch", seq, payload, now)
            if "summary" in batch:
                day = day_of(parse_date(batch["summary"]["day"]))
                self._do("put_summary", day, seq, now)
            else:  # one that was here is not taken by the service
                self._do("answer_summary", "refused", seq)
            for record in batch["records"]:
                # What waited is on its way again: the ledger may hold it from now on.
                self._do("send_again", record["id"])

    def drop(self, seq: int) -> None:
        self._do("drop_batch", seq)

    def keep(self, seq: int, receipt: VerifiedReceipt) -> None:
        now = int(time.time())
        self._do("keep_receipt", receipt.body, receipt.signature, now, seq)
        batch = decode(self.payload(seq), Batch)
        if receipt.receipt.summary is not UNSET:
            self._do("answer_summary", receipt.receipt.summary.status, seq)
        for void, result in zip(batch.voids, receipt.receipt.voids, strict=True):
            match result:
                # What the ledger does not hold counts no more than what was taken back.
                case Accepted() | Duplicate() | Conflict():
                    self._settle(void.id, "void")
                case Rejected(code="already_voided" | "unknown_record"):
                    self._settle(void.id, "void")
                case Rejected(code=code):
                    self._settle(void.id, "held", code)
        for record, result in zip(batch.records, receipt.receipt.results, strict=True):
            match result:
                case Accepted() | Duplicate():
                    self._settle_record(record.id, "held")
                case Conflict():
                    self._settle_record(record.id, "refused", "conflict")
                case Rejected(code=code):
                    standing: SliceStanding = "waiting" if code in PASSING_CODES else "refused"
                    self._settle_record(record.id, standing, code)

    def unproved(self) -> Sequence[int]:
        return [seq for (seq,) in self._all("unproved")]

    def answer(self, seq: int) -> tuple[bytes, str]:
        receipt, signature = self._one("receipt", seq)
        return bytes(receipt), str(signature)

    def keep_proof(self, seq: int, stored: StoredReceipt) -> None:
        self._do("keep_proof", stored.format(), seq)

    def write_proofs(self, folder: Path) -> int:
        """Write each batch with its receipt and proof into a file, where it has none.

        Returns how many were written. Raises `OSError`.
        """
        make_private(folder)
        known = {file.name for file in folder.iterdir()}
        names = {seq: f"{seq}.proved.json" for (seq,) in self._all("proved")}
        new = {seq: name for seq, name in names.items() if name not in known}
        for seq, name in new.items():
            (proof,) = self._one("proof", seq)
            write_file(folder / name, proof)
        return len(new)

    def waiting(self) -> dict[str, Waiting]:
        found = (Waiting(json.loads(item), *rest) for item, *rest in self._all("waiting"))
        return {each.item["id"]: each for each in found}

    def wait(self, waiting: Mapping[str, Waiting]) -> None:
        with self.change():
            self._do("clear_waiting")
            for id_, each in waiting.items():
                fields = asdict(each)
                item = json.dumps(fields.pop("item"), ensure_ascii=False)
                self._do(
                    "wait", id_, item, *(fields[n] for n in ("code", "detail", "tries", "due"))
                )

    def note(self, item: NotTaken) -> None:
        text = json.dumps(item.item, ensure_ascii=False)
        self._do("note", text, item.code, item.detail)
        id_ = str(item.item.get("id"))
        if "reason" not in item.item:
            self._settle_record(id_, "refused", item.code)
        elif self._one("slice_standing", id_) == ("voiding",):
            self._settle(id_, "held", item.code)

    def _settle_record(self, id_: str, standing: SliceStanding, code: str = "") -> None:
        """Settle a slice that is on its way; one that is to be taken back stays so."""
        if self._one("slice_standing", id_) in (("sent",), ("waiting",)):
            self._settle(id_, standing, code)

    # Facts, runs and slices

    def fact(self, name: str) -> str | None:
        found = self._one("fact", name)
        return None if found is None else str(found[0])

    def set_fact(self, name: str, value: str) -> None:
        self._do("set_fact", name, value)

    def look_back(self, since: int) -> None:
        """Let the next reading begin no later than at an instant."""
        known = self.fact("complete_at")
        if known is None or int(known) > since:
            self.set_fact("complete_at", str(since))
        # A file is read anew, and what is wrong with it is told anew.
        self.set_fact("cursor", "")
        self._do("drop_all_bad_lines")

    def keep_part(self, part: FilePart, at: int) -> None:
        """Write down the lines of a file that could not be read, and when it was begun anew."""
        if part.is_anew:
            self._do("drop_bad_lines", part.source)
            self.set_fact("begun_at", str(at))
        for each in part.bad:
            self._do("put_bad_line", part.source, *astuple(each))

    def is_of_this_pass(self, run: str) -> bool:
        """Return whether a run was seen since its file was begun anew."""
        (seen_at,) = self._one("seen_at", run)
        return int(seen_at) >= int(self.fact("begun_at") or 0)

    def see(self, run: Run, at: int) -> None:
        """Write down a run as it was seen."""
        self._do(
            "put_run",
            *(run.id, run.account, run.partition, run.state, run.allocation, run.begin, run.end),
            *(run.ran, run.was_suspended, run.standing, at),
        )

    def apply(self, run: Run, known: Known, plan: Plan) -> None:
        """Write down what a plan says of a run."""
        for each in plan.dropped:
            self._settle(each.id, "void", each.code)
            self._do("drop_waiting", each.id)
        for each in plan.voids:
            is_known = each.standing in ("sent", "held")
            self._settle(each.id, "voiding" if is_known else "void")
            self._do("drop_waiting", each.id)
        for each in plan.slices:
            self._do("put_slice", *asdict(each).values())
        stands = {each.id for each in known.standing} - {each.id for each in plan.voids}
        terms = run.terms if plan.slices or not stands else known.terms
        trouble = plan.question or plan.quarantine
        self._do(
            "judge_run",
            None if plan.quarantine is None else plan.quarantine.code,
            None if plan.question is None else plan.question.code,
            "" if trouble is None else trouble.detail,
            plan.is_unfinished,
            json.dumps(terms),
            run.id,
        )

    def forget_unsettled(self, last_seq: int) -> set[str]:
        """Drop what is on its way, for the stream goes on after a number; return its runs."""
        runs = {id_ for (id_,) in self._all("runs_on_the_way")}
        for name in ("drop_unsent", "clear_waiting"):
            self._do(name)
        self.set_fact("last_seq", str(last_seq))
        return runs

    def adopt(self, run: str, slices: Sequence[Slice], terms: tuple[str, str, str]) -> None:
        """Let a run have these slices and no others."""
        self._do("drop_slices", run)
        for each in slices:
            self._do("adopt_slice", *asdict(each).values())
        self._do("set_terms", json.dumps(terms), run)

    # Summaries of days

    def summed_up(self, before: int) -> dict[int, bool]:
        """Return the days that are summed up, and whether they have to be again.

        One that came too early has to, if it was made before an instant.
        """
        return {day: bool(is_due) for day, is_due in self._all("summed_up", before)}

    def sum_up_again(self, first_day: int) -> None:
        """Let all days from one on be summed up anew."""
        self.set_fact("first_day", str(first_day))
        self._do("stale_summaries")

    def summaries(self, most: int) -> list[tuple[int, str]]:
        """Return the newest days that are summed up, the last first, and how each stands."""
        return self._all("summaries", most)

    def usage_of_day(self, begin: int, end: int) -> list[tuple[str, str, int, int]]:
        """Return contract, device, number and time of the slices that the ledger has of a day."""
        return self._all("usage_of_day", begin, end)

    def runs_of_day(self, begin: int, end: int) -> list[RunOfDay]:
        rows = self._all("runs_of_day", begin, end)
        return [RunOfDay(seconds, *map(bool, rest)) for seconds, *rest in rows]

    def total_of_day(self, begin: int, end: int) -> tuple[int, int]:
        """Return how many runs a day has, and their seconds within it."""
        runs, seconds = self._one("total_of_day", begin, end)
        return runs, seconds

    def approve(self, names: Sequence[str]) -> list[str]:
        """Let corrections be made, each `Held.name`; return why not.

        Where any is not what waits now, none is made.
        """
        with self.change():
            refusals = [told for each in names if (told := self._refusal(each))]
            if not refusals:
                for each in names:
                    run, _, mark = each.rpartition("@")
                    self._do("approve", mark, run)
        return refusals

    def _refusal(self, name: str) -> str:
        """Return why a correction cannot be approved by a name, or nothing."""
        run, _, mark = name.rpartition("@")
        if not run:
            return f"{name} is not RUN@MARK, as `kashi agent corrections` tells it"
        found = self._one("question", run)
        if found is None:
            return f"no correction of {run} waits"
        question = Trouble(*found)
        if question.mark == mark:
            return ""
        return f"it is another correction of {run} now: {question.code}: {question.detail}"

    def stand(self, run: str, standing: Standing) -> None:
        self._do("stand_run", standing, run)

    def run(self, id_: str) -> tuple[Run, Known] | None:
        """Return a run as it was seen last, and what was reported of it."""
        row = self._one("run", id_)
        if row is None:
            return None
        *seen, terms, approved = row
        before = None if terms is None else tuple(json.loads(terms))
        slices = [_slice(each) for each in self._all("slices", id_)]
        return _run(seen), Known(slices, before, approved)

    def unsettled(self) -> set[str]:
        """Return the runs that are held up, or of which a slice was not taken."""
        return {id_ for (id_,) in self._all("unsettled_runs")}

    def unfinished(self) -> set[str]:
        """Return the runs of which more is due once their voids are answered."""
        return {id_ for (id_,) in self._all("unfinished_runs")}

    def unended(self, prefix: str) -> dict[str, tuple[Run, int]]:
        """Return the runs without an end whose id begins so, and when each was last seen."""
        rows = self._all("unended_runs", prefix)
        return {row[0]: (_run(row[:-1]), row[-1]) for row in rows}

    def settled(self, since: int) -> dict[str, Run]:
        """Return the runs that ended since and of which nothing can be due by the same map."""
        return {row[0]: _run(row) for row in self._all("settled_runs", since)}

    def runs_since(self, since: int) -> set[str]:
        """Return the runs without an end, or that ended since."""
        return {id_ for (id_,) in self._all("runs_since", since)}

    @property
    def oldest_open(self) -> int | None:
        """Return when the oldest run without an end began."""
        (start,) = self._one("oldest_open")
        return None if start is None else int(start)

    # For people

    def count(self, standing: Standing) -> int:
        (count,) = self._one("count_standing", standing)
        return int(count)

    def quarantined(self) -> list[Held]:
        """Return the runs that are not reported, and the lines that cannot be read."""
        lines = [
            Held(f"line {number}", "-", text, 0, Trouble("unreadable_line", reason))
            for number, reason, text in self._all("bad_lines")
        ]
        return [_held(row) for row in self._all("quarantined")] + lines

    def questions(self) -> list[Held]:
        return [_held(row) for row in self._all("questions")]

    def refused(self) -> list[Slice]:
        return [_slice(row) for row in self._all("refused_slices")]

    def unsent_since(self) -> tuple[int, int | None]:
        """Return how many batches are unsent, and when the oldest was made."""
        count, made_at = self._one("count_unsent")
        return count, made_at

    @property
    def last_receipt_at(self) -> int | None:
        (received_at,) = self._one("last_receipt")
        return None if received_at is None else int(received_at)

    def milli_device_seconds(self) -> dict[str, int]:
        """Return thousandths of devices × seconds by the standing of their slices."""
        return dict(self._all("device_seconds"))

    # SQL

    def _settle(self, slice_: str, standing: SliceStanding, code: str = "") -> None:
        self._do("settle_slice", standing, code, slice_)

    def _do(self, name: str, *values: Any) -> None:
        with self.change():
            self._db.execute(_SQL[name], values)

    def _one(self, name: str, *values: Any) -> Any:
        with _faults(self._file):
            return self._db.execute(_SQL[name], values).fetchone()

    def _all(self, name: str, *values: Any) -> list[Any]:
        with _faults(self._file):
            return self._db.execute(_SQL[name], values).fetchall()


def _run(row: Sequence[Any]) -> Run:
    names = ("id", "account", "partition", "state", "allocation", "begin", "end", "ran")
    fields = dict(zip((*names, "was_suspended", "standing"), row, strict=True))
    return Run(**(fields | {"was_suspended": bool(fields["was_suspended"])}))


def _slice(row: Sequence[Any]) -> Slice:
    fields = dict(zip(Slice.__dataclass_fields__, row, strict=True))
    return Slice(**(fields | {"final": bool(fields["final"])}))


def _held(row: Sequence[Any]) -> Held:
    id_, account, allocation, start, until, seen_at, _, code, detail = row
    seconds = max(0, (seen_at if until is None else until) - start)
    return Held(id_, account, allocation, seconds, Trouble(code, detail))


@contextlib.contextmanager
def _faults(file: Path) -> Iterator[None]:
    """Raise what SQLite complains of as `ClientError`: the disk is full, the file is no spool."""
    try:
        yield
    except sqlite3.Error as error:
        raise ClientError("spool", f"{file}: {error}") from error
