"""Report a stream's usage so that nothing is lost and nothing doubled.

    stream = Stream(log=…, genesis=…, provider="pcl", name="cloudbrain-2", keyid=…, key=load_key(…))
    async with Reporter("https://kashi.example", stream, receipt_key, Path("outbox")) as reporter:
        report = await reporter.report(records)

Each batch is written into the reporter's folder before it is posted, and stays there. After an
error or a crash at any point the next `report` goes on. Without a response the same payload is sent
again: the service answers a known batch with its stored receipt. Records that may have been sent
can be reported again too, for the service knows their ids.

    outbox/17.batch.json          the payload, as it was signed
    outbox/17.receipt.json        the service's receipt, its signature beside it (`kashi verify
    outbox/17.receipt.json.sig      --receipt` compares both with the ledger)
    outbox/17.proved.json         batch, receipt and proof in one file, written by `prove`
                                    (`kashi receipt verify` needs no ledger for it)
    outbox/refused.jsonl          items that were not taken, one a line, with the reason
    outbox/waiting.jsonl          records that were refused for a reason that passes

Time mends some refusals: a contract that is not registered yet, a freeze, an end that lies in the
future by a clock that is wrong. Such a record waits, and a later `report` sends it again, after a
minute at first and after an hour at most. It ends by being accepted, or refused for good
(`too_late`). Whatever else is reported under its id takes its place.
"""

import json
import logging
import ssl
import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, Self

from meter.agent.spool import FolderOutbox, NotTaken, Outbox, Waiting, as_json
from meter.client import (
    ATTEMPTS,
    FIRST_PAUSE_SECONDS,
    BadReceipt,
    Refused,
    Service,
    Stream,
    VerifiedReceipt,
    purchase_fields,
    record_fields,
    sign_payload,
)
from meter.values.strict import decode
from meter.wire.batch import MAX_BATCH_BYTES, MAX_BATCH_ITEMS, Batch, Purchase, Record, Void
from meter.wire.receipt import PASSING_CODES, Conflict, Rejected

# An envelope spells its payload in base64, four characters for three bytes, and adds a little.
MAX_PAYLOAD_BYTES: Final = (MAX_BATCH_BYTES - 1_024) // 4 * 3
# More taken numbers than a crash leaves: the caller has lost count of its stream.
MAX_SEQ_CONFLICTS: Final = 3
RETRY_SECONDS: Final = 60  # before a record is sent again; doubled each time
MAX_RETRY_SECONDS: Final = 3_600
# The service takes records that end 300 s ahead of its clock.
MAX_CLOCK_SECONDS: Final = 60

_log: Final = logging.getLogger(__name__)

Item = Record | Void | Purchase | Mapping[str, Any]  # a mapping as in the JSON of a batch
_Fields = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Report:
    """What one call of `Reporter.report` settled, older batches included.

    `waiting` are the records that later calls send again.
    """

    receipts: list[VerifiedReceipt] = field(default_factory=list)
    not_taken: list[NotTaken] = field(default_factory=list)
    waiting: list[Waiting] = field(default_factory=list)


class Reporter:
    """Reports the usage of one stream: use it as `async with Reporter(…) as reporter`.

    An outbox (a folder, or another store) belongs to one stream, and one process at a time may
    use it. `stream.last_seq` matters only where it is new and the stream is not. A batch whose
    number is taken gets another one, so many times (`max_seq_conflicts`). Entering raises
    `ClientError` (`in_use`, `other_stream`), and `ValueError` where a batch may not have the
    stream's names.
    """

    def __init__(  # noqa: PLR0913 - where, as whom, checked by what, kept where
        self,
        url: str,
        stream: Stream,
        receipt_key: str,
        outbox: Path | Outbox,
        *,
        token: str | None = None,
        tls: ssl.SSLContext | None = None,
        attempts: int = ATTEMPTS,
        first_pause_seconds: float = FIRST_PAUSE_SECONDS,
        retry_seconds: int = RETRY_SECONDS,
        max_seq_conflicts: int = MAX_SEQ_CONFLICTS,
    ) -> None:
        self._service = Service(
            url, token, tls=tls, attempts=attempts, first_pause_seconds=first_pause_seconds
        )
        self._stream = stream
        self._receipt_key = receipt_key
        self._retry_seconds = retry_seconds
        self._max_seq_conflicts = max_seq_conflicts
        self._outbox = FolderOutbox(outbox) if isinstance(outbox, Path) else outbox
        self._known_ids: dict[int, _Ids] = {}

    async def __aenter__(self) -> Self:
        decode(self._payload(1, _Part()), Batch)  # a name that no batch may have ends here
        self._outbox.open(self._stream)
        await self._service.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._service.__aexit__()
        self._outbox.close()

    @property
    def clock_ahead_seconds(self) -> float:
        """Seconds that this machine's clock is ahead of the ledger's; negative if behind."""
        return self._service.clock_ahead_seconds

    async def report(
        self,
        records: Iterable[Item] = (),
        voids: Iterable[Item] = (),
        purchases: Iterable[Item] = (),
    ) -> Report:
        """Post what is given, after what is left from earlier; return the results.

        An item that the service does not take stops no other. Raises `Unreachable`, `BadReceipt`,
        and `Refused` for a fault of the sender or the service; all items are in the folder then,
        and the next call (or the next process) goes on with them.
        """
        report = Report()
        report.not_taken.extend(self.enqueue(records, voids, purchases))
        await self._post_all(report)
        report.waiting.extend(self._outbox.waiting().values())
        self._check_clock()
        return report

    def enqueue(
        self,
        records: Iterable[Item] = (),
        voids: Iterable[Item] = (),
        purchases: Iterable[Item] = (),
    ) -> list[NotTaken]:
        """Put what is given and what waits into numbered batches, for the next `report`.

        Return what is not worth sending. A caller whose own store is the outbox does this within
        its `change`.
        """
        malformed = Report()
        with self._outbox.change():
            given = _Part(
                self._well_formed(voids, Void, malformed),
                self._well_formed(records, Record, malformed),
                self._well_formed(purchases, Purchase, malformed),
            )
            for part in (*_parts(given), *_parts(_part_of(self._due()))):
                self._put_new(part)
        return malformed.not_taken

    def enqueue_summary(self, summary: Mapping[str, Any]) -> None:
        """Put the summary of a day into a batch of its own, for the next `report`."""
        self._put_new(_Part(summary=summary))

    async def prove(self) -> int:
        """Fetch and keep the proof of each batch that has a receipt and none; return how many.

        Needs a token of the provider. Raises `Unreachable`, `Refused` and `BadReceipt`; the next
        call goes on.
        """
        unproved = self._outbox.unproved()
        for seq in unproved:
            stored = await self._service.proved(sha256(self._outbox.payload(seq)).hexdigest())
            if (stored.receipt.encode(), stored.signature) != self._outbox.answer(seq):
                raise BadReceipt("other_receipt", f"another answer to batch {seq} than before")
            self._outbox.keep_proof(seq, stored)
        return len(unproved)

    def _due(self) -> list[_Fields]:
        """Return what is to be sent again now; what is in an unsent batch is on its way."""
        waiting, now = self._outbox.waiting(), time.time()
        if not waiting:
            return []
        # What an unsent batch takes back does not wait any more once that batch is answered.
        unsent = [self._ids(seq) for seq in self._outbox.unsent()]
        sent = {id_ for ids in unsent for id_ in ids.records | ids.voids}
        return [
            dict(each.item)
            for id_, each in waiting.items()
            # A time far ahead is of a clock that was set back since.
            if id_ not in sent and not now < each.due <= now + MAX_RETRY_SECONDS
        ]

    def _check_clock(self) -> None:
        ahead = self.clock_ahead_seconds
        if abs(ahead) > MAX_CLOCK_SECONDS:
            side = "ahead of" if ahead > 0 else "behind"
            _log.warning("the clock here is %.0f s %s the ledger's: set it", abs(ahead), side)

    def _well_formed(
        self, items: Iterable[Item], kind: type[Record | Void | Purchase], report: Report
    ) -> list[_Fields]:
        """Set aside each item for which the service would refuse the whole batch."""
        good = []
        for item in items:
            try:
                good.append(_fields_of(item, kind))
            except (ValueError, TypeError, AttributeError, OverflowError) as error:
                self._set_aside(NotTaken(_describe(item), "malformed", str(error)), report)
        return good

    def _put_new(self, part: "_Part") -> int:
        """Write a batch into the folder under the next number; return the number."""
        seq = self._stream.last_seq + 1
        self._put(seq, part)
        self._stream.last_seq = seq
        return seq

    def _put(self, seq: int, part: "_Part") -> None:
        self._outbox.put(seq, self._payload(seq, part))
        self._known_ids[seq] = _Ids.of(part)

    def _ids(self, seq: int) -> "_Ids":
        """Return what an unsent batch voids and brings; its payload is read once for that."""
        if seq not in self._known_ids:
            self._known_ids[seq] = _Ids.of(_Part.of(self._outbox.payload(seq)))
        return self._known_ids[seq]

    def _payload(self, seq: int, part: "_Part") -> bytes:
        stream = self._stream
        head = {"log": stream.log, "genesis": stream.genesis, "provider": stream.provider}
        body = {"stream": stream.name, "seq": seq, "voids": part.voids, "records": part.records}
        body |= {"purchases": part.purchases or None, "summary": part.summary}
        known = {name: value for name, value in (head | body).items() if value is not None}
        return as_json(known)

    async def _post_all(self, report: Report) -> None:
        queue = deque(self._outbox.unsent())
        conflicts, fault = 0, None
        failed: list[int] = []
        deferred: set[int] = set()
        while queue:
            seq = queue.popleft()
            if seq not in deferred and self._takes_back(seq, queue):
                deferred.add(seq)
                queue.append(seq)  # a void before its record would find nothing
                continue
            if self._takes_back(seq, failed):
                failed.append(seq)
                continue
            payload = self._outbox.payload(seq)
            try:
                envelope = sign_payload(payload, self._stream.keyid, self._stream.key)
                receipt = await self._service.post_batch(envelope, self._receipt_key)
            except Refused as refused:
                if refused.status == 413 or refused.code == "bad_batch":
                    queue.extendleft(reversed(self._split(seq, payload, refused, report)))
                elif refused.code == "seq_conflict" and conflicts < self._max_seq_conflicts:
                    conflicts += 1
                    queue.appendleft(self._renumber(seq, payload))
                elif refused.status == 500:
                    fault = refused  # it may be this batch alone, so the others go on
                    failed.append(seq)
                else:
                    raise
            else:
                self._settle(seq, payload, receipt, report)
        if fault is not None:
            raise fault

    def _takes_back(self, seq: int, others: Iterable[int]) -> bool:
        """Return whether a batch voids a record that another one brings."""
        voided = self._ids(seq).voids
        return bool(voided) and any(voided & self._ids(other).records for other in others)

    def _split(self, seq: int, payload: bytes, refused: Refused, report: Report) -> list[int]:
        """Cut a batch in two; return their numbers. A single item is set aside.

        The service stored nothing of the refused batch, so its number is free: for the first half,
        or for an empty batch, so that the stream has no gap.
        """
        part = _Part.of(payload)
        if part.summary is not None:
            with self._outbox.change():
                left = {"summary": part.summary}
                self._set_aside(NotTaken(left, refused.code, refused.detail), report)
                self._put(seq, replace(part, summary=None))
            return [seq]
        if not part.size:
            raise refused
        if part.size == 1:
            (item,) = part.items
            with self._outbox.change():
                self._set_aside(NotTaken(item, refused.code, refused.detail), report)
                self._put(seq, _Part())
            return [seq]
        first, second = part.halves()
        with self._outbox.change():
            # Before the first half shrinks: sent twice is harmless, never sent is lost.
            other = self._put_new(second)
            self._put(seq, first)
        return [seq, other]

    def _renumber(self, seq: int, payload: bytes) -> int:
        """Move a batch to another number, where its own is taken; ids keep its records unique."""
        with self._outbox.change():
            other = self._put_new(_Part.of(payload))
            self._outbox.drop(seq)
        return other

    def _settle(self, seq: int, payload: bytes, receipt: VerifiedReceipt, report: Report) -> None:
        part = _Part.of(payload)
        results = receipt.receipt.voids + receipt.receipt.results
        before = self._outbox.waiting()
        waiting = {id_: each for id_, each in before.items() if id_ not in part.ids}
        with self._outbox.change():
            for item, result in zip(part.items, results, strict=True):
                match result:
                    case Rejected(code=code, detail=detail) if code in PASSING_CODES:
                        tried = before.get(item["id"])
                        waiting[item["id"]] = self._again(item, code, detail, tried)
                    case Rejected(code=code, detail=detail):
                        self._set_aside(NotTaken(item, code, detail), report)
                    case Conflict(detail=detail):
                        self._set_aside(NotTaken(item, "conflict", detail), report)
            self._outbox.wait(waiting)
            self._outbox.keep(seq, receipt)
        self._known_ids.pop(seq, None)
        report.receipts.append(receipt)

    def _again(self, item: _Fields, code: str, detail: str, before: Waiting | None) -> Waiting:
        tries = 1 if before is None else before.tries + 1
        pause = min(self._retry_seconds << min(tries - 1, 16), MAX_RETRY_SECONDS)
        return Waiting(item, code, detail, tries, int(time.time()) + pause)

    def _set_aside(self, item: NotTaken, report: Report) -> None:
        self._outbox.note(item)
        report.not_taken.append(item)


@dataclass(frozen=True, slots=True)
class _Part:
    """The voids, records and purchases of one batch, and the summary of a day, as JSON."""

    voids: list[_Fields] = field(default_factory=list)
    records: list[_Fields] = field(default_factory=list)
    purchases: list[_Fields] = field(default_factory=list)
    summary: Mapping[str, Any] | None = None

    @classmethod
    def of(cls, payload: bytes) -> Self:
        batch = json.loads(payload)
        bought = batch.get("purchases", [])
        return cls(batch["voids"], batch["records"], bought, batch.get("summary"))

    @property
    def items(self) -> list[_Fields]:
        return self.voids + self.records + self.purchases

    @property
    def size(self) -> int:
        return len(self.items)

    @property
    def ids(self) -> set[str]:
        return {item["id"] for item in self.items}

    def halves(self) -> tuple["_Part", "_Part"]:
        """Cut in the middle of the items, in their order."""
        middle = self.size // 2
        return self._slice(0, middle), self._slice(middle, self.size)

    def _slice(self, first: int, stop: int) -> "_Part":
        parts = []
        for items in (self.voids, self.records, self.purchases):
            parts.append(items[max(0, first) : max(0, stop)])
            first, stop = first - len(items), stop - len(items)
        voids, records, purchases = parts
        return _Part(voids, records, purchases)


@dataclass(frozen=True, slots=True)
class _Ids:
    """The ids of a batch's voids, and of its records and purchases."""

    voids: frozenset[str]
    records: frozenset[str]

    @classmethod
    def of(cls, part: _Part) -> Self:
        brought = part.records + part.purchases
        voids, records = ([each["id"] for each in items] for items in (part.voids, brought))
        return cls(frozenset(voids), frozenset(records))


def _part_of(items: list[_Fields]) -> _Part:
    """Return records and purchases by kind: a purchase has a day of delivery."""
    bought = [item for item in items if "delivered_on" in item]
    return _Part([], [item for item in items if "delivered_on" not in item], bought)


def _parts(whole: _Part) -> list[_Part]:
    """Cut into batches that the service's limits allow, in order."""
    if not whole.size:
        return []
    size_bytes = sum(len(as_json(item)) + 1 for item in whole.items)
    if whole.size <= MAX_BATCH_ITEMS and size_bytes + 1_024 <= MAX_PAYLOAD_BYTES:
        return [whole]
    first, second = whole.halves()
    return [*_parts(first), *_parts(second)]


def _fields_of(item: Item, kind: type[Record | Void | Purchase]) -> _Fields:
    """Return an item as JSON; raises where the service would refuse its form."""
    match item:
        case Record():
            fields = record_fields(item)
        case Void():
            fields = {"id": item.id, "reason": item.reason}
        case Purchase():
            fields = purchase_fields(item)
        case _:
            fields = dict(item)
    decode(as_json(fields), kind)
    return fields


def _describe(item: Item) -> Mapping[str, Any]:
    """Return any reported item in a form that JSON can hold."""
    try:
        return dict(json.loads(as_json(item)))  # type: ignore[arg-type]
    except (ValueError, TypeError):
        return {"repr": repr(item)}
