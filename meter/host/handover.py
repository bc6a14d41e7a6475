"""What the fronts of a service and its leader say to each other, over a connection of their own.

A front has verified an envelope and read its batch; the leader decides it and answers with the
receipt. Each message is a frame: its length in four bytes, big-endian, then one array of
MessagePack that begins with the name of the message. Here is the first one of a leader that can
commit. Its ledger has 9 entries; 8 are published, and the last registration is entry 5:

    00 00 00 0c  96 a5 6d 6f 76 65 64 09 08 06 c3 00

From a front: `batch`, `command`, `metrics`, `told`. From the leader: `stored`, `answer`, `refused`,
`moved`, `asked`. An answer has the number of its question. What a batch holds comes as columns: one
list for each field of its records, not one object for each record. The deadline of a question is an
instant of the leader's steady clock (CLOCK_MONOTONIC, nanoseconds), which all processes of a
machine share; a front of another machine learns from `moved` what that clock says.

Both sides belong to one service and are of one version: a message of another form is a fault, and
ends the connection (`BadMessage`).
"""

import asyncio
import struct
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final, Protocol, TypeVar, cast

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType
from msgspec.json import decode, encode

from meter.rules.commands import Asked, ConfirmProposal, fields_of
from meter.rules.decide_command import CommandResponse
from meter.rules.kinds.table import BY_COMMAND
from meter.rules.state import StoredBatch
from meter.values.problems import CODES, Problem
from meter.values.strict import Date, Fen, convert_plain
from meter.wire.batch import MAX_BATCH_BYTES, Batch, Purchase, Record, SignedBatch, Void
from meter.wire.receipt import EntryRange

# An envelope, and its batch once more.
MAX_FRAME_BYTES: Final = 4 * MAX_BATCH_BYTES
_LENGTH: Final = struct.Struct(">I")

T = TypeVar("T")
Count = Annotated[int, Meta(ge=0)]
Text = str | None  # None stands for a field that is left out


class BadMessage(Exception):  # noqa: N818 - the name says what is wrong
    """Bytes that are no message."""


class _Message(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=str.lower):
    """An array that begins with the name of its struct, in small letters."""


class Columns(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The records of a batch, field by field; the last three are empty where no record has them."""

    ids: list[str]
    contracts: list[str]
    devices: list[str]
    milli_devices: list[int]
    starts: list[int]
    ends: list[int]
    runs: list[Text]
    states: list[Text]
    finals: list[bool | None]


class BatchBody(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A batch, as its signed payload has it; purchases and voids are rare, and come one by one."""

    log: str
    genesis: Text
    provider: str
    stream: str
    seq: int
    voids: list[tuple[str, str]]
    records: Columns
    purchases: list[tuple[str, str, int, str, Text, Text]]


class BatchMessage(_Message, frozen=True, tag="batch"):
    """A verified batch to be decided; hashes are hex sha256."""

    number: Count
    deadline: Count
    keyid: str
    payload_sha256: str
    envelope_sha256: str
    envelope: bytes
    body: BatchBody


class CommandMessage(_Message, frozen=True, tag="command"):
    """A command to be decided, by a token's id and its idempotency key; `fields` is JSON."""

    number: Count
    deadline: Count
    kind: str
    fields: bytes
    by: str
    request: Text


class MetricsWanted(_Message, frozen=True, tag="metrics"):
    """A question for the metrics of leader and fronts together."""

    number: Count
    deadline: Count


class MetricsTold(_Message, frozen=True, tag="told"):
    """The front's own metrics (text format), for which the leader has asked."""

    text: bytes


class Stored(_Message, frozen=True, tag="stored"):
    """A batch that is durable: its entries, and its receipt with signature."""

    number: Count
    first: Count
    count: Count
    payload: str
    receipt: bytes
    signature: str


class Answer(_Message, frozen=True, tag="answer"):
    """The answer to a command, or all metrics (status 200)."""

    number: Count
    status: Count
    body: bytes
    replayed: bool


class Refused(_Message, frozen=True, tag="refused"):
    """A problem, as `values.problems` has it."""

    number: Count
    code: str
    detail: str
    facts: dict[str, int | str]


class Moved(_Message, frozen=True, tag="moved"):
    """How far the ledger is: durable, published, and up to its last registration.

    `ready` where the leader can commit. `clock` is what the leader's steady clock says, 0 where the
    front has the same. It comes at each change, and as a beat between them.
    """

    size: Count
    published: Count
    registered: Count
    ready: bool
    clock: Count = 0


class MetricsAsked(_Message, frozen=True, tag="asked"):
    """A question for the front's own metrics."""


FromFront = BatchMessage | CommandMessage | MetricsWanted | MetricsTold
FromLeader = Stored | Answer | Refused | Moved | MetricsAsked
Outcome = StoredBatch | CommandResponse | Problem

_ENCODER: Final = msgspec.msgpack.Encoder()
_KINDS: Final[dict[str, type[Asked]]] = {
    **{kind.__name__: kind for kind in BY_COMMAND},
    ConfirmProposal.__name__: ConfirmProposal,
}


# Frames


def frame(message: FromFront | FromLeader) -> bytes:
    """Return a message with its length."""
    data = _ENCODER.encode(message)
    return _LENGTH.pack(len(data)) + data


class Frames:
    """Cuts a stream of bytes into messages of one side."""

    def __init__(self, kind: Any) -> None:
        self._decoder = msgspec.msgpack.Decoder(kind)
        self._bytes = bytearray()

    def feed(self, data: bytes) -> list[Any]:
        """Return the messages that are complete now. Raises `BadMessage`."""
        held, place, found = self._bytes, 0, []
        held += data
        while len(held) - place >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(held, place)
            if length > MAX_FRAME_BYTES:
                raise BadMessage(f"a frame of {length} bytes")
            begin = place + _LENGTH.size
            if len(held) < begin + length:
                break
            place = begin + length
            found.append(self._read(bytes(held[begin:place])))
        del held[:place]
        return found

    def _read(self, data: bytes) -> Any:
        try:
            return self._decoder.decode(data)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise BadMessage(str(error)) from None


class Peer(Protocol):
    """What hears a connection: its messages, and its end."""

    def heard(self, message: Any) -> None:
        """Take a message. May raise `BadMessage`."""
        ...

    def lost(self) -> None:
        """Take note that nothing more will come, or can be said."""
        ...


class Connection(asyncio.Protocol):
    """One end of the socket; a message that is none ends it."""

    def __init__(self, kind: Any, peer: "Callable[[Connection], Peer]") -> None:
        self._frames = Frames(kind)
        self._make_peer = peer
        self._peer: Peer
        self._transport: asyncio.Transport
        self.fault = ""  # what it ended by, where that was the other side's fault

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._peer = self._make_peer(self)

    def data_received(self, data: bytes) -> None:
        try:
            for message in self._frames.feed(data):
                self._peer.heard(message)
        except BadMessage as error:
            self.fault = str(error)
            self._transport.abort()

    def connection_lost(self, _: Exception | None) -> None:
        self._peer.lost()

    def say(self, message: FromFront | FromLeader) -> None:
        """Send a message, as soon as the other side takes it."""
        if not self._transport.is_closing():
            self._transport.write(frame(message))

    @property
    def unsent_bytes(self) -> int:
        """The bytes that the other side has not taken yet."""
        return self._transport.get_write_buffer_size()

    def end(self) -> None:
        """End the connection at once."""
        self._transport.abort()


# Batches


def batch_message(number: int, deadline: int, signed: SignedBatch) -> BatchMessage:
    """Return a verified batch as a message."""
    batch = signed.batch
    body = BatchBody(
        batch.log,
        _or_none(batch.genesis),
        batch.provider,
        batch.stream,
        batch.seq,
        [(each.id, each.reason) for each in batch.voids],
        _columns(batch.records),
        [
            (
                *(each.id, each.contract, int(each.amount), str(each.delivered_on)),
                *(_text_or_none(each.service_from), _text_or_none(each.service_until)),
            )
            for each in batch.purchases
        ],
    )
    return BatchMessage(
        *(number, deadline, signed.keyid, signed.payload_sha256, signed.envelope_sha256),
        signed.envelope,
        body,
    )


def signed_batch(message: BatchMessage) -> SignedBatch:
    """Return the batch of a message: the inverse. Raises `BadMessage`."""
    body = message.body
    batch = Batch(
        log=body.log,
        genesis=_or_unset(body.genesis),
        provider=body.provider,
        stream=body.stream,
        seq=body.seq,
        voids=[Void(*each) for each in body.voids],
        records=_records(body.records),
        purchases=[
            Purchase(
                *(id_, contract, Fen(amount), Date(delivered)),
                UNSET if begin is None else Date(begin),
                UNSET if end is None else Date(end),
            )
            for id_, contract, amount, delivered, begin, end in body.purchases
        ],
    )
    hashes = message.payload_sha256, message.envelope_sha256
    return SignedBatch(batch, message.keyid, *hashes, message.envelope)


def _columns(records: Sequence[Record]) -> Columns:
    return Columns(
        [each.id for each in records],
        [each.contract for each in records],
        [each.device for each in records],
        [each.milli_devices for each in records],
        [int(each.start) for each in records],
        [int(each.end) for each in records],
        _optional([each.run for each in records]),
        _optional([each.state for each in records]),
        _optional([each.final for each in records]),
    )


def _optional(values: list[T | UnsetType]) -> list[T | None]:
    """Return a column of what may be left out, empty where all of it is."""
    column = [_or_none(value) for value in values]
    return column if _is_told(column) else []


def _records(columns: Columns) -> list[Record]:
    count = len(columns.ids)
    names = (columns.ids, columns.contracts, columns.devices)
    figures = (columns.milli_devices, columns.starts, columns.ends)
    optional = (columns.runs, columns.states, columns.finals)
    if {len(column) for column in (*names, *figures)} != {count}:
        raise BadMessage("columns of different lengths")
    if any(len(column) != count or not _is_told(column) for column in optional if column):
        raise BadMessage("a column is neither left out nor as long as the others")
    if not any(optional):
        return list(map(Record, *names, *figures))
    filled = [map(_or_unset, column or [None] * count) for column in optional]
    return list(map(Record, *names, *figures, *filled))


def _is_told(column: Sequence[Any]) -> bool:
    """Return whether a record has this field: a column that none has is left out."""
    return column.count(None) < len(column)


def _or_none(value: T | UnsetType) -> T | None:
    return None if value is UNSET else value


def _text_or_none(value: str | UnsetType) -> Text:
    return None if value is UNSET else str(value)


def _or_unset(value: T | None) -> T | UnsetType:
    return UNSET if value is None else value


# Commands and outcomes


def command_message(
    number: int, deadline: int, command: Asked, by: str, request: str | None
) -> CommandMessage:
    """Return a command as a message; its fields are those that its entry repeats."""
    kind, fields = type(command), fields_of(command)
    names = zip(kind.__struct_fields__, kind.__struct_encode_fields__, strict=True)
    given = {encoded: fields[name] for name, encoded in names if fields[name] is not UNSET}
    return CommandMessage(number, deadline, kind.__name__, encode(given), by, request)


def command_of(message: CommandMessage) -> Asked:
    """Return the command of a message. Raises `BadMessage`."""
    kind = _KINDS.get(message.kind)
    if kind is None:
        raise BadMessage(f"no command {message.kind!r:.80}")
    try:
        return convert_plain(decode(message.fields, type=dict[str, Any]), kind)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise BadMessage(str(error)) from None


def outcome_message(number: int, outcome: Outcome) -> FromLeader:
    """Return an outcome as the answer to the question of this number."""
    match outcome:
        case StoredBatch(entries, payload, receipt, signature):
            return Stored(number, entries.first, entries.count, payload, receipt, signature)
        case CommandResponse(status, body, replayed):
            return Answer(number, status, body, replayed)
        case Problem(code=code, detail=detail, facts=facts):
            return Refused(number, code, detail, facts)


def outcome_of(message: Stored | Answer | Refused) -> Outcome:
    """Return the outcome that a message tells. Raises `BadMessage`."""
    match message:
        case Stored(_, first, count, payload, receipt, signature):
            return StoredBatch(EntryRange(first, count), payload, receipt, signature)
        case Answer(_, status, body, replayed):
            return CommandResponse(status, body, replayed)
        case Refused(_, code, detail, facts):
            if code not in CODES:
                raise BadMessage(f"no problem has the code {code!r:.80}")
            problem = Problem(code, detail)
            problem.facts = facts
            return problem
