"""Speak to a service over HTTP: what a provider needs, and the plain calls of an authority.

    public = keygen(Path("pcl.key"))                     # to be registered as pcl-2025a
    stream = Stream(log=…, genesis=…, provider="pcl", name="cloudbrain-2", keyid=…, key=load_key(…))
    async with Reporter("https://kashi.example", stream, receipt_key, Path("outbox")) as reporter:
        report = await reporter.report(records)

`Reporter` loses and doubles nothing. Batches lie in its folder before they are posted, and leave it
never; an error or a crash at any point is mended by the next `report`. When no answer comes, the
very same payload is sent again: the service gives a batch that it knows its stored answer. Records
that may have been sent can be reported again too, for the service knows their ids.

    outbox/17.batch.json          the payload, as it was signed
    outbox/17.receipt.json        the service's answer, its signature beside it (`kashi verify
    outbox/17.receipt.json.sig      --receipt` holds both against the ledger)
    outbox/refused.jsonl          what was not taken, one a line, with the reason

Below it are the plain steps: `sign_batch` gives an envelope, `post` sends one. They keep nothing.

A key file holds the base64 of the 32-byte seed (RFC 8032) and is its owner's alone.
"""

import asyncio
import base64
import fcntl
import json
import os
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, Self

import aiohttp
import msgspec
from aiohttp import hdrs
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import UNSET

from meter import dsse
from meter.dsse import BATCH_TYPE, RECEIPT_TYPE
from meter.strict import decode
from meter.units import format_instant
from meter.wire import (
    MAX_BATCH_BYTES,
    MAX_BATCH_ITEMS,
    Batch,
    Conflict,
    Receipt,
    Record,
    Rejected,
    Void,
    parse_receipt,
)

ATTEMPTS: Final = 6  # with the pauses between them, some twenty seconds
FIRST_PAUSE_SECONDS: Final = 0.5  # doubled from one attempt to the next
MAX_PAUSE_SECONDS: Final = 30.0  # whatever Retry-After says
TIMEOUT_SECONDS: Final = 60  # of one attempt, answer included
# An envelope spells its payload in base64, four characters for three bytes, and adds a little.
MAX_PAYLOAD_BYTES: Final = (MAX_BATCH_BYTES - 1_024) // 4 * 3
# More taken numbers than a crash can leave behind: the caller has lost count of its stream.
MAX_SEQ_CONFLICTS: Final = 3

# A gateway's two codes, for the service itself says only 503.
_TRY_AGAIN: Final = frozenset({502, 503, 504})


class ClientError(Exception):
    """No good answer, with a stable code."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


class Refused(ClientError):  # noqa: N818 - the name says what happened
    """The service said no: `code` is its own (`meter.problems`), `facts` the whole document."""

    def __init__(self, status: int, code: str, detail: str, facts: Mapping[str, Any]) -> None:
        super().__init__(code, detail)
        self.status = status
        self.facts = facts


class Unreachable(ClientError):  # noqa: N818 - the name says what happened
    """No answer to all attempts. Whether the request took effect is not known: send it again."""


class BadReceipt(ClientError):  # noqa: N818 - the name says what happened
    """The answer is not a receipt for this batch that the service's receipt key signed."""


@dataclass(frozen=True, slots=True)
class SignedReceipt:
    """A receipt for the batch that was sent, as it came; nobody checked who signed it.

    `body` and `signature` (the `Kashi-Signature` header) are what a provider keeps as evidence.
    """

    body: bytes
    signature: str
    receipt: Receipt


@dataclass(frozen=True, slots=True)
class VerifiedReceipt(SignedReceipt):
    """A receipt for the batch that was sent, signed by the service's receipt key."""


# Keys


def keygen(file: Path) -> str:
    """Write a new key into a file that is not there yet; give the public half in base64."""
    key = Ed25519PrivateKey.generate()
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as stream:
        stream.write(base64.b64encode(key.private_bytes_raw()).decode() + "\n")
        stream.flush()
        os.fsync(stream.fileno())
    return public_text(key)


def load_key(file: Path) -> Ed25519PrivateKey:
    """Read a key file. Raises `ValueError`, which never repeats what the file holds."""
    try:
        return Ed25519PrivateKey.from_private_bytes(
            dsse.decode_base64(file.read_text(encoding="ascii").strip())
        )
    except ValueError:
        raise ValueError(f"{file} does not hold the base64 of a 32-byte Ed25519 seed") from None


def public_text(key: Ed25519PrivateKey) -> str:
    """Give the public half in base64, as it is registered."""
    return base64.b64encode(key.public_key().public_bytes_raw()).decode()


# Batches


def sign_batch(batch: Batch | Mapping[str, Any], keyid: str, key: Ed25519PrivateKey) -> bytes:
    """Give the envelope of a batch. Raises `ValueError` for what is not a batch."""
    if isinstance(batch, Batch):
        return sign_payload(payload_of(batch), keyid, key)
    return sign_payload(json.dumps(batch, ensure_ascii=False).encode(), keyid, key)


def sign_payload(payload: bytes, keyid: str, key: Ed25519PrivateKey) -> bytes:
    """Give the envelope of a batch's exact bytes.

    Raises `ValueError` where the service would refuse them: that would burn no number, but a
    signature over it is better not made.
    """
    decode(payload, Batch)
    return dsse.seal(BATCH_TYPE, payload, keyid, key)


def payload_of(batch: Batch) -> bytes:
    """Write a batch as it travels, instants in Shanghai's offset."""
    fields = {name: getattr(batch, name) for name in batch.__struct_fields__}
    fields["records"] = [_record_fields(record) for record in batch.records]
    return msgspec.json.encode({key: value for key, value in fields.items() if value is not UNSET})


def _record_fields(record: Record) -> dict[str, Any]:
    fields = {name: getattr(record, name) for name in record.__struct_fields__}
    fields |= {"start": format_instant(record.start), "end": format_instant(record.end)}
    return {name: value for name, value in fields.items() if value is not UNSET}


@dataclass(slots=True)
class Stream:
    """Gives the batches of one stream their numbers and signs them.

    `genesis` (hex sha256 of the ledger's entry 0) makes a batch worthless to any other ledger; it
    is sent when known. The owner keeps `last_seq`, and the envelopes themselves, wherever a crash
    does not reach them, or leaves that to a `Reporter`.
    """

    log: str
    genesis: str | None
    provider: str
    name: str
    keyid: str
    key: Ed25519PrivateKey
    last_seq: int = 0

    def next_batch(self, records: Iterable[Record], voids: Iterable[Void] = ()) -> Batch:
        """Take the next number."""
        self.last_seq += 1
        return Batch(
            log=self.log,
            genesis=UNSET if self.genesis is None else self.genesis,
            provider=self.provider,
            stream=self.name,
            seq=self.last_seq,
            voids=list(voids),
            records=list(records),
        )

    def sign(self, batch: Batch) -> bytes:
        """Give the batch's envelope: the same bytes each time."""
        return sign_batch(batch, self.keyid, self.key)


# Reporting


Item = Record | Void | Mapping[str, Any]  # a mapping as in the JSON of a batch
_Fields = dict[str, Any]


@dataclass(frozen=True, slots=True)
class NotTaken:
    """A record or void that is not in the ledger, or not as it is here, and why.

    `code` is one of the receipt's (`meter.wire`: `conflict` too), that of a refused batch, or
    `malformed` where it was not worth sending. Mended, it can be reported anew.
    """

    item: Mapping[str, Any]
    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class Report:
    """What one call of `Reporter.report` settled, older batches included."""

    receipts: list[VerifiedReceipt] = field(default_factory=list)
    not_taken: list[NotTaken] = field(default_factory=list)


class Reporter:
    """Reports the usage of one stream: use it as `async with Reporter(…) as reporter`.

    One at a time may use a folder, and a folder is of one stream. `stream.last_seq` matters only
    where the folder is new and the stream is not. Entering raises `ClientError` (`in_use`,
    `other_stream`), and `ValueError` where the stream's names are not such as a batch may have.
    """

    def __init__(  # noqa: PLR0913 - where, as whom, checked by what, kept where
        self,
        url: str,
        stream: Stream,
        receipt_key: str,
        folder: Path,
        *,
        attempts: int = ATTEMPTS,
        first_pause_seconds: float = FIRST_PAUSE_SECONDS,
    ) -> None:
        self._service = Service(url, attempts=attempts, first_pause_seconds=first_pause_seconds)
        self._stream = stream
        self._receipt_key = receipt_key
        self._outbox = _Outbox(folder)

    async def __aenter__(self) -> Self:
        decode(self._payload(1, _Part([], [])), Batch)  # a name that no batch may have ends here
        self._outbox.open(self._stream)
        await self._service.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._service.__aexit__()
        self._outbox.close()

    async def report(self, records: Iterable[Item] = (), voids: Iterable[Item] = ()) -> Report:
        """Post voids and records, and what was left over from earlier; give what came of it.

        What the service does not take stops nothing else. Raises `Unreachable`, `BadReceipt`, and
        `Refused` for what concerns the sender or is a fault of the service; then all that was
        given lies in the folder, and the next call (or the next process) goes on with it.
        """
        report = Report()
        good_voids = self._well_formed(voids, Void, report)
        good_records = self._well_formed(records, Record, report)
        for part in _parts(good_voids, good_records):
            self._put_new(part)
        await self._post_all(report)
        return report

    def _well_formed(
        self, items: Iterable[Item], kind: type[Record] | type[Void], report: Report
    ) -> list[_Fields]:
        """Set aside what would have its whole batch refused."""
        good = []
        for item in items:
            try:
                good.append(_fields_of(item, kind))
            except (ValueError, TypeError, AttributeError, OverflowError) as error:
                self._set_aside(NotTaken(_shown(item), "malformed", str(error)), report)
        return good

    def _put_new(self, part: "_Part") -> int:
        """Lay a batch into the folder under the next number, and give that."""
        seq = self._stream.last_seq + 1
        self._outbox.put(seq, self._payload(seq, part))
        self._stream.last_seq = seq
        return seq

    def _payload(self, seq: int, part: "_Part") -> bytes:
        stream = self._stream
        head = {"log": stream.log, "genesis": stream.genesis, "provider": stream.provider}
        body = {"stream": stream.name, "seq": seq, "voids": part.voids, "records": part.records}
        known = {name: value for name, value in (head | body).items() if value is not None}
        return _json(known)

    async def _post_all(self, report: Report) -> None:
        queue = deque(self._outbox.unsent())
        conflicts, fault = 0, None
        while queue:
            seq = queue.popleft()
            payload = self._outbox.payload(seq)
            try:
                envelope = sign_payload(payload, self._stream.keyid, self._stream.key)
                receipt = await self._service.post_batch(envelope, self._receipt_key)
            except Refused as refused:
                if refused.status == 413 or refused.code == "bad_batch":
                    queue.extendleft(reversed(self._split(seq, payload, refused, report)))
                elif refused.code == "seq_conflict" and conflicts < MAX_SEQ_CONFLICTS:
                    conflicts += 1
                    queue.appendleft(self._renumber(seq, payload))
                elif refused.status == 500:
                    fault = refused  # it may be this batch alone, so the others go on
                else:
                    raise
            else:
                self._settle(seq, payload, receipt, report)
        if fault is not None:
            raise fault

    def _split(self, seq: int, payload: bytes, refused: Refused, report: Report) -> list[int]:
        """Make two batches of one; give their numbers. A single item is set aside.

        Nothing of a batch so refused was stored, so its number is free: for its first half, or for
        an empty batch, lest the stream have a gap.
        """
        part = _Part.of(payload)
        if not part.size:
            raise refused
        if part.size == 1:
            (item,) = part.voids + part.records
            self._set_aside(NotTaken(item, refused.code, refused.detail), report)
            self._outbox.put(seq, self._payload(seq, _Part([], [])))
            return [seq]
        first, second = part.halves()
        other = self._put_new(second)  # before the first shrinks: twice does no harm, never would
        self._outbox.put(seq, self._payload(seq, first))
        return [seq, other]

    def _renumber(self, seq: int, payload: bytes) -> int:
        """Give a batch another number, where its own is taken; ids keep its records unique."""
        other = self._put_new(_Part.of(payload))
        self._outbox.drop(seq)
        return other

    def _settle(self, seq: int, payload: bytes, receipt: VerifiedReceipt, report: Report) -> None:
        part = _Part.of(payload)
        results = receipt.receipt.voids + receipt.receipt.results
        for item, result in zip(part.voids + part.records, results, strict=True):
            match result:
                case Rejected(code=code, detail=detail):
                    self._set_aside(NotTaken(item, code, detail), report)
                case Conflict(detail=detail):
                    self._set_aside(NotTaken(item, "conflict", detail), report)
        self._outbox.keep(seq, receipt)
        report.receipts.append(receipt)

    def _set_aside(self, item: NotTaken, report: Report) -> None:
        self._outbox.note(item)
        report.not_taken.append(item)


@dataclass(frozen=True, slots=True)
class _Part:
    """What one batch asks for, as JSON."""

    voids: list[_Fields]
    records: list[_Fields]

    @classmethod
    def of(cls, payload: bytes) -> Self:
        batch = json.loads(payload)
        return cls(batch["voids"], batch["records"])

    @property
    def size(self) -> int:
        return len(self.voids) + len(self.records)

    def halves(self) -> tuple["_Part", "_Part"]:
        """Cut in the middle, voids first."""
        middle = self.size // 2
        rest = max(0, middle - len(self.voids))
        return (
            _Part(self.voids[:middle], self.records[:rest]),
            _Part(self.voids[middle:], self.records[rest:]),
        )


def _parts(voids: list[_Fields], records: list[_Fields]) -> Iterable[_Part]:
    """Cut into batches that the service's limits allow, in order."""
    whole = _Part(voids, records)
    if not whole.size:
        return []
    size_bytes = sum(len(_json(item)) + 1 for item in voids + records)
    if whole.size <= MAX_BATCH_ITEMS and size_bytes + 1_024 <= MAX_PAYLOAD_BYTES:
        return [whole]
    first, second = whole.halves()
    return [*_parts(first.voids, first.records), *_parts(second.voids, second.records)]


def _fields_of(item: Item, kind: type[Record] | type[Void]) -> _Fields:
    """Give an item as JSON; raises where the service would refuse its form."""
    match item:
        case Record():
            fields = _record_fields(item)
        case Void():
            fields = {"id": item.id, "reason": item.reason}
        case _:
            fields = dict(item)
    decode(_json(fields), kind)
    return fields


def _shown(item: Item) -> Mapping[str, Any]:
    """Give whatever was reported in a form that can be written down."""
    try:
        return dict(json.loads(_json(item)))  # type: ignore[arg-type]
    except (ValueError, TypeError):
        return {"repr": repr(item)}


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


class _Outbox:
    """The folder; every change of it is durable, and whole or not there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._unsent: list[int] = []

    def open(self, stream: Stream) -> None:
        """Take the folder for oneself; `stream.last_seq` becomes what it knows."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise ClientError("in_use", f"{self._folder} is another process's now") from None
        try:
            self._read(stream)
        except BaseException:
            self.close()
            raise

    def _read(self, stream: Stream) -> None:
        names = {path.name for path in self._folder.iterdir()}
        numbers = [
            int(name[: -len(".batch.json")]) for name in names if name.endswith(".batch.json")
        ]
        self._unsent = sorted(seq for seq in numbers if f"{seq}.receipt.json" not in names)
        stream.last_seq = max([stream.last_seq, *numbers])
        for seq in self._unsent:
            batch = decode(self.payload(seq), Batch)
            if (batch.log, batch.provider, batch.stream) != (
                *(stream.log, stream.provider, stream.name),
            ):
                raise ClientError("other_stream", f"{self._folder} holds batches of {batch.stream}")

    def close(self) -> None:
        os.close(self._lock)

    def unsent(self) -> Sequence[int]:
        """Give the numbers of batches without a receipt."""
        return list(self._unsent)

    def payload(self, seq: int) -> bytes:
        return self._file(seq).read_bytes()

    def put(self, seq: int, payload: bytes) -> None:
        """Write a batch, or another in its place."""
        _write(self._file(seq), payload)
        if seq not in self._unsent:
            self._unsent.append(seq)

    def drop(self, seq: int) -> None:
        self._file(seq).unlink()
        self._unsent.remove(seq)

    def keep(self, seq: int, receipt: SignedReceipt) -> None:
        """Write the answer; the receipt last, for it says that all is done."""
        file = self._folder / f"{seq}.receipt.json"
        _write(file.with_name(file.name + ".sig"), receipt.signature.encode())
        _write(file, receipt.body)
        self._unsent.remove(seq)

    def note(self, item: NotTaken) -> None:
        line = _json({"code": item.code, "detail": item.detail, "item": item.item})
        with (self._folder / "refused.jsonl").open("ab") as stream:
            stream.write(line + b"\n")
            stream.flush()
            os.fsync(stream.fileno())

    def _file(self, seq: int) -> Path:
        return self._folder / f"{seq}.batch.json"


def _write(file: Path, data: bytes) -> None:
    """Write a file whole or not at all, and see it to the disk."""
    draft = file.with_name(file.name + ".new")
    with draft.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    draft.rename(file)
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


# HTTP


async def post(
    url: str, envelope: bytes, receipt_key: str | None = None
) -> SignedReceipt | VerifiedReceipt:
    """Post one envelope; see `Service`. Without the receipt key, the signature stays unchecked."""
    async with Service(url) as service:
        if receipt_key is None:
            return await service.post_unverified(envelope)
        return await service.post_batch(envelope, receipt_key)


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


class Service:
    """A service at a URL; use it as `async with Service(url) as service`.

    Whatever is sent may be sent twice without harm, so each call is repeated on a lost connection
    and on 503. All methods raise `Refused` or `Unreachable`. `token` is an authority's.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        attempts: int = ATTEMPTS,
        first_pause_seconds: float = FIRST_PAUSE_SECONDS,
    ) -> None:
        self._url = url.rstrip("/")
        self._headers = {} if token is None else {hdrs.AUTHORIZATION: f"Bearer {token}"}
        self._attempts = attempts
        self._first_pause_seconds = first_pause_seconds

    async def __aenter__(self) -> Self:
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
        self._session = aiohttp.ClientSession(headers=self._headers, timeout=timeout)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def post_batch(self, envelope: bytes, receipt_key: str) -> VerifiedReceipt:
        """Post an envelope and check the receipt: base64 of the key from the ledger's entry 0.

        Raises `BadReceipt` too; the batch may be in the ledger then, but nothing proves it.
        """
        answer = await self._send(hdrs.METH_POST, "/v1/usage", envelope)
        signature = answer.headers.get("Kashi-Signature", "")
        _check_signature(answer.body, signature, receipt_key)
        return VerifiedReceipt(answer.body, signature, _receipt_for(envelope, answer.body))

    async def post_unverified(self, envelope: bytes) -> SignedReceipt:
        """Post an envelope and check only that the receipt is for it. Raises `BadReceipt` too."""
        answer = await self._send(hdrs.METH_POST, "/v1/usage", envelope)
        signature = answer.headers.get("Kashi-Signature", "")
        return SignedReceipt(answer.body, signature, _receipt_for(envelope, answer.body))

    async def command(self, path: str, body: Mapping[str, Any], request: str) -> dict[str, Any]:
        """Have the authority's command carried out; `request` is its idempotency key."""
        data = json.dumps(body, ensure_ascii=False).encode()
        answer = await self._send(hdrs.METH_POST, path, data, {"Idempotency-Key": request})
        return _object(answer)

    async def ask(self, path: str, **query: str | int) -> dict[str, Any]:
        """Put a question."""
        return _object(await self._send(hdrs.METH_GET, path, query=query))

    async def _send(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str | int] | None = None,
    ) -> _Answer:
        """Send until there is an answer; the bytes are the same each time."""
        pause_seconds = self._first_pause_seconds
        for left in reversed(range(self._attempts)):
            try:
                answer = await self._send_once(method, path, body, headers, query)
            except (
                aiohttp.ClientConnectionError,
                aiohttp.ClientPayloadError,
                TimeoutError,
            ) as lost:
                if not left:
                    told = f"{self._url}{path}: {lost or type(lost).__name__}"
                    raise Unreachable("unreachable", told) from None
                wait_seconds = pause_seconds
            else:
                if answer.status not in _TRY_AGAIN or not left:
                    return _accepted(answer)
                wait_seconds = _retry_after(answer, pause_seconds)
            await asyncio.sleep(min(wait_seconds, MAX_PAUSE_SECONDS))
            pause_seconds *= 2
        raise AssertionError("the last attempt returns or raises")

    async def _send_once(
        self,
        method: str,
        path: str,
        body: bytes | None,
        headers: Mapping[str, str] | None,
        query: Mapping[str, str | int] | None,
    ) -> _Answer:
        async with self._session.request(
            method,
            self._url + path,
            data=body,
            headers=headers,
            params=query,
            allow_redirects=False,  # a redirected POST may turn into a GET
        ) as response:
            return _Answer(response.status, response.headers, await response.read())


def _retry_after(answer: _Answer, otherwise_seconds: float) -> float:
    text = answer.headers.get(hdrs.RETRY_AFTER, "")
    return float(text) if text.isascii() and text.isdigit() else otherwise_seconds


def _accepted(answer: _Answer) -> _Answer:
    """Let a good answer through. Raises `Refused` with what the problem document says."""
    if 200 <= answer.status < 300:
        return answer
    try:
        facts = _object(answer)
    except ClientError:
        facts = {}
    code = str(facts.get("code", f"http_{answer.status}"))
    raise Refused(answer.status, code, str(facts.get("detail", "no problem document")), facts)


def _object(answer: _Answer) -> dict[str, Any]:
    try:
        return msgspec.json.decode(answer.body, type=dict[str, Any])
    except (ValueError, RecursionError):
        raise ClientError("not_kashi", "what answers there is not this service") from None


def _check_signature(body: bytes, header: str, receipt_key: str) -> None:
    try:
        _, signature = dsse.parse_signature_header(header)
        public_key = dsse.decode_base64(receipt_key)
    except ValueError as error:
        raise BadReceipt("bad_receipt_signature", str(error)) from None
    if not dsse.is_signed_by(public_key, RECEIPT_TYPE, body, signature):
        raise BadReceipt("bad_receipt_signature", "the receipt key did not sign this answer")


def _receipt_for(envelope: bytes, body: bytes) -> Receipt:
    """Read a receipt and hold it against the batch that was sent."""
    try:
        receipt = parse_receipt(body)
    except ValueError as error:
        raise BadReceipt("bad_receipt", str(error)) from None
    payload = dsse.parse(envelope, BATCH_TYPE).payload
    batch = decode(payload, Batch)
    if (receipt.log, receipt.provider, receipt.stream, receipt.seq, receipt.batch) != (
        *(batch.log, batch.provider, batch.stream, batch.seq),
        sha256(payload).hexdigest(),
    ):
        raise BadReceipt("other_batch", f"a receipt for batch {receipt.batch:.64} came back")
    sent = [void.id for void in batch.voids] + [record.id for record in batch.records]
    if [result.id for result in receipt.voids + receipt.results] != sent:
        raise BadReceipt("bad_receipt", "not one result for each void and record, in their order")
    return receipt
