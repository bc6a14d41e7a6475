"""The usage batch that a provider signs.

    {"log":"kashi.example/shenzhen","provider":"pcl","stream":"cloudbrain-2","seq":17,
     "voids":[{"id":"slurm:4100:3","reason":"node failed, not charged"}],
     "records":[{"id":"slurm:4211:0","contract":"TC-2025-0001","device":"ascend-910b",
       "milli_devices":64000,"start":"2025-03-01T08:00:00+08:00",
       "end":"2025-03-01T09:00:00+08:00","run":"slurm:4211","state":"RUNNING","final":false}]}

A trading platform or vendor sends `purchases` beside its records, or instead of them:

     "purchases":[{"id":"order-7001","contract":"CC-2025-0001","amount":"333333.33",
       "delivered_on":"2025-03-01","service_from":"2025-03-01","service_until":"2026-03-01"}]

One that has ended a Shanghai day may sum it up: `summary`, in `wire/summary.py`.

`genesis` (hex sha256 of entry 0), `run`, `state` and `final` are optional, and so are the dates of
a service, half-open. A payload of another form is refused whole. Values are judged record by record
(`rules/decide.py`), so that one wrong record does not harm the others.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import Annotated, Final

from msgspec import UNSET, Meta, Struct, UnsetType

from ledger.canon import MAX_INTEGER
from meter.values.problems import Problem
from meter.values.strict import (
    Date,
    Fen,
    Id,
    Instant,
    Note,
    Reason,
    VisibleAscii,
    decode,
    is_id,
    is_visible_ascii,
)
from meter.values.units import DAY_SECONDS, parse_date
from meter.wire.dsse import Envelope
from meter.wire.summary import Summary, check_summary

MAX_BATCH_BYTES: Final = 8 * 1024 * 1024  # of the envelope: a whole batch is held in memory
# Voids, records, purchases, lines of a summary: bounds how long one batch holds up the others.
MAX_BATCH_ITEMS: Final = 5_000
# Counted before anything is decoded. Each item has one brace, a record at most 32 quotation marks;
# the rest is for texts that hold some.
MAX_BRACES: Final = 2 * MAX_BATCH_ITEMS
MAX_QUOTES: Final = 40 * MAX_BATCH_ITEMS
MAX_AHEAD_SECONDS: Final = 300  # how far a provider's clock may run ahead of ours
MAX_RECORD_SECONDS: Final = 31 * DAY_SECONDS  # longer ones are sliced, so that balances stay live
# The sum over a batch, such as 168 records of 31 days or 5,200 of one day. Where capacity is short,
# each quarter-hour of a record is judged by itself, and a batch is decided in one go.
MAX_BATCH_SECONDS: Final = 5_200 * DAY_SECONDS
# A term touches at most four years. A purchase by days of service adds to each day of them.
MAX_SERVICE_SECONDS: Final = 1_461 * DAY_SECONDS
MAX_BATCH_SERVICE_SECONDS: Final = 50 * MAX_SERVICE_SECONDS  # 200 services of a year
MAX_SEQ: Final = MAX_INTEGER


LogName = Annotated[str, Meta(min_length=1, max_length=200)]
Sha256Hex = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]


class Void(Struct, frozen=True, forbid_unknown_fields=True):
    """A request to take back an accepted record."""

    id: VisibleAscii
    reason: Reason


class Record(Struct, frozen=True, forbid_unknown_fields=True):
    """`milli_devices` of one kind worked for one contract in `[start, end)` (seconds, UTC)."""

    id: VisibleAscii
    contract: Id
    device: Id
    milli_devices: Annotated[int, Meta(ge=-MAX_INTEGER, le=MAX_INTEGER)]
    start: Instant
    end: Instant
    run: VisibleAscii | UnsetType = UNSET
    state: Note | UnsetType = UNSET
    final: bool | UnsetType = UNSET


class Purchase(Struct, frozen=True, forbid_unknown_fields=True):
    """What an enterprise bought under a contract for `amount` fen, and when it was delivered.

    A service has the half-open dates in which it is rendered.
    """

    id: VisibleAscii
    contract: Id
    amount: Fen
    delivered_on: Date
    service_from: Date | UnsetType = UNSET
    service_until: Date | UnsetType = UNSET

    @property
    def service(self) -> tuple[int, int] | None:
        """The seconds in which the service is rendered, where both dates are told."""
        if self.service_from is UNSET or self.service_until is UNSET:
            return None
        return parse_date(self.service_from), parse_date(self.service_until)


class Batch(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The signed payload."""

    log: LogName
    genesis: Sha256Hex | UnsetType = UNSET
    provider: Id
    stream: Id
    seq: Annotated[int, Meta(ge=1, le=MAX_SEQ)]
    voids: list[Void] = []
    records: list[Record] = []
    purchases: list[Purchase] = []
    summary: Summary | UnsetType = UNSET

    @property
    def item_ids(self) -> list[str]:
        """The ids of voids, records and purchases, in the order of a receipt's results."""
        records = [each.id for each in self.records]
        return [each.id for each in self.voids] + records + [each.id for each in self.purchases]


class SignedBatch(Struct, frozen=True):
    """A batch whose signature verified under the key `keyid`; hashes are hex sha256."""

    batch: Batch
    keyid: str
    payload_sha256: str
    envelope_sha256: str
    envelope: bytes


def parse_batch(envelope: Envelope, data: bytes) -> SignedBatch:
    """Return the batch of an envelope whose signature verified; `data` holds the envelope's bytes.

    Raises `Problem` `bad_batch` or `too_large`.
    """
    _check_bounds(envelope.payload)
    try:
        batch = _read(envelope.payload)
        if batch.summary is not UNSET:
            check_summary(batch.summary)
    except ValueError as error:
        raise Problem("bad_batch", str(error)) from None
    _check_size(batch)
    return SignedBatch(
        batch,
        envelope.keyid,
        sha256(envelope.payload).hexdigest(),
        sha256(data).hexdigest(),
        data,
    )


def _check_size(batch: Batch) -> None:
    """Raise `Problem` for a batch that would take too long to decide."""
    lines = 0 if batch.summary is UNSET else len(batch.summary.usage)
    items = len(batch.voids) + len(batch.records) + len(batch.purchases) + lines
    if items > MAX_BATCH_ITEMS:
        detail = f"more than {MAX_BATCH_ITEMS} records, purchases, voids and lines of a summary"
        raise Problem("too_large", detail)
    spans = (record.end - record.start for record in batch.records)
    if sum(span for span in spans if 0 < span <= MAX_RECORD_SECONDS) > MAX_BATCH_SECONDS:
        raise Problem("too_large", f"its records last more than {MAX_BATCH_SECONDS} s together")
    services = (each.service for each in batch.purchases)
    spans = (each[1] - each[0] for each in services if each is not None)
    if sum(span for span in spans if 0 < span <= MAX_SERVICE_SECONDS) > MAX_BATCH_SERVICE_SECONDS:
        days = MAX_BATCH_SERVICE_SECONDS // DAY_SECONDS
        raise Problem("too_large", f"its services last more than {days} days together")


def _check_bounds(payload: bytes) -> None:
    """Raise `Problem` for a payload with more than a batch can hold, before it is decoded."""
    for mark, most in ((b"{", MAX_BRACES), (b'"', MAX_QUOTES)):
        if payload.count(mark) > most:
            raise Problem("too_large", f"more than {most} of {mark.decode()}")


def _read(payload: bytes) -> Batch:
    """Return the batch of a payload. Raises `ValueError` with a sentence that names the place.

    Matching one pattern takes as long as reading three fields, so all ids are matched together
    after reading. If one does not match, the strict types read again and name it.
    """
    try:
        batch = decode(payload, _LooseBatch)
    except ValueError:
        return decode(payload, Batch)
    return batch if _are_ids_valid(batch.records) else decode(payload, Batch)


class _LooseRecord(Record, frozen=True):
    """A record whose ids are not checked yet; it never equals a plain `Record`."""

    id: str
    contract: str
    device: str
    run: str | UnsetType = UNSET


class _LooseBatch(Batch, frozen=True, kw_only=True):
    records: list[_LooseRecord] = []  # type: ignore[assignment]  # only read


def _are_ids_valid(records: Sequence[Record]) -> bool:
    """Return whether all ids match the patterns of `Record`."""
    names = {record.contract for record in records} | {record.device for record in records}
    own = [record.id for record in records]
    own += [record.run for record in records if record.run is not UNSET]
    return all(map(is_id, names)) and all(map(is_visible_ascii, own))
