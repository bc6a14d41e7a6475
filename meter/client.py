"""The client of a service over HTTP: keys, signatures, posts of single batches, and plain calls.

    body = keygen(Path("pcl.key"), log=…, provider="pcl", keyid="pcl-2025a")     # to be registered
    stream = Stream(log=…, genesis=…, provider="pcl", name="cloudbrain-2", keyid=…, key=load_key(…))
    receipt = await post(url, stream.sign(stream.next_batch(records)), receipt_key)

`sign_batch` returns an envelope. `post` sends one, the same bytes again until a response comes:
sending twice does no harm. Neither keeps anything; `meter.agent` does.

A key file holds the base64 of the 32-byte seed (RFC 8032) and is its owner's alone.
"""

import asyncio
import base64
import json
import os
import re
import ssl
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import aiohttp
import msgspec
from aiohttp import hdrs
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import UNSET

from ledger.errors import LedgerError
from ledger.files import close_to_others, open_private
from meter.values.foreign_text import one_line
from meter.values.problems import Problem
from meter.values.strict import decode, is_id
from meter.values.units import format_instant, format_money
from meter.wire import dsse, possession, stored_receipt
from meter.wire.batch import Batch, Purchase, Record, Void
from meter.wire.dsse import BATCH_TYPE, RECEIPT_TYPE
from meter.wire.receipt import TIME, Receipt, WrongReceipt, receipt_for
from meter.wire.stored_receipt import MAX_FILE_BYTES, StoredReceipt

ATTEMPTS: Final = 6  # with the pauses between them, some twenty seconds
FIRST_PAUSE_SECONDS: Final = 0.5  # doubled from one attempt to the next
MAX_PAUSE_SECONDS: Final = 30.0  # whatever Retry-After says
TIMEOUT_SECONDS: Final = 60  # of one attempt, response included
MAX_RESPONSE_BYTES: Final = MAX_FILE_BYTES  # no response is longer than a stored receipt

# 502 and 504 are a gateway's.
_TRY_AGAIN: Final = frozenset({408, 502, 503, 504})
_MICROSECONDS: Final = re.compile(r"[0-9]{1,17}")


class ClientError(Exception):
    """A call without a good response, with a stable code."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


class Refused(ClientError):  # noqa: N818 - the name says what happened
    """The service refused: `code` is its own (`values.problems`), `facts` the whole document."""

    def __init__(self, status: int, code: str, detail: str, facts: Mapping[str, Any]) -> None:
        super().__init__(code, detail)
        self.status = status
        self.facts = facts


class Unreachable(ClientError):  # noqa: N818 - the name says what happened
    """No attempt got a response. The request may have taken effect: send it again."""


class BadReceipt(ClientError):  # noqa: N818 - the name says what happened
    """The response is not a receipt for this batch, signed by the service's receipt key."""


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


def keygen(file: Path, log: str, provider: str, keyid: str) -> dict[str, str]:
    """Write a new key into a new file; return its `registration`."""
    key = Ed25519PrivateKey.generate()
    body = registration(key, log, provider, keyid)
    with open_private(file, new=True) as stream:
        stream.write(base64.b64encode(key.private_bytes_raw()) + b"\n")
        stream.flush()
        os.fsync(stream.fileno())
    return body


def registration(key: Ed25519PrivateKey, log: str, provider: str, keyid: str) -> dict[str, str]:
    """Return what the authority posts to register a key, its proof of possession included.

    `log` is the ledger's origin. Raises `ValueError` for ids that no provider or key may have.
    """
    for each in (provider, keyid):
        if not is_id(each):
            raise ValueError(f"{each!r:.200} cannot be an id")
    return {
        "keyid": keyid,
        "algorithm": "ed25519",
        "public_key": public_text(key),
        "proof": possession.prove(key, log, provider, keyid),
    }


def load_key(file: Path) -> Ed25519PrivateKey:
    """Read a key file. Raises `ValueError`, which never repeats what the file holds."""
    if file.stat().st_uid == os.geteuid():  # another's file is as its owner wants it
        close_to_others(file)
    try:
        return Ed25519PrivateKey.from_private_bytes(
            dsse.decode_base64(file.read_text(encoding="ascii").strip())
        )
    except ValueError:
        raise ValueError(f"{file} does not hold the base64 of a 32-byte Ed25519 seed") from None


def public_text(key: Ed25519PrivateKey) -> str:
    """Return the public half in base64, as it is registered."""
    return base64.b64encode(key.public_key().public_bytes_raw()).decode()


# Batches


def sign_batch(batch: Batch | Mapping[str, Any], keyid: str, key: Ed25519PrivateKey) -> bytes:
    """Return the envelope of a batch. Raises `ValueError` where it is not a batch."""
    if isinstance(batch, Batch):
        return sign_payload(payload_of(batch), keyid, key)
    return sign_payload(json.dumps(batch, ensure_ascii=False).encode(), keyid, key)


def sign_payload(payload: bytes, keyid: str, key: Ed25519PrivateKey) -> bytes:
    """Return the envelope of a batch's exact bytes.

    Raises `ValueError` where the service would refuse them, before anything is signed.
    """
    decode(payload, Batch)
    return dsse.seal(BATCH_TYPE, payload, keyid, key)


def payload_of(batch: Batch) -> bytes:
    """Write a batch as it travels, instants in Shanghai's offset."""
    fields = {name: getattr(batch, name) for name in batch.__struct_fields__}
    fields["records"] = [record_fields(record) for record in batch.records]
    fields["purchases"] = [purchase_fields(purchase) for purchase in batch.purchases]
    return msgspec.json.encode({key: value for key, value in fields.items() if value is not UNSET})


def record_fields(record: Record) -> dict[str, Any]:
    """Return a record as JSON, instants in Shanghai's offset."""
    fields = {name: getattr(record, name) for name in record.__struct_fields__}
    fields |= {"start": format_instant(record.start), "end": format_instant(record.end)}
    return {name: value for name, value in fields.items() if value is not UNSET}


def purchase_fields(purchase: Purchase) -> dict[str, Any]:
    """Return a purchase as JSON, its amount as yuan text."""
    fields = {name: getattr(purchase, name) for name in purchase.__struct_fields__}
    fields["amount"] = format_money(purchase.amount)
    return {name: value for name, value in fields.items() if value is not UNSET}


@dataclass(slots=True)
class Stream:
    """One stream, which numbers its batches and signs them.

    `genesis` (hex sha256 of the ledger's entry 0) makes a batch worthless to any other ledger; it
    is sent when known. The owner keeps `last_seq` and the envelopes durably, or leaves that to a
    `Reporter`.
    """

    log: str
    genesis: str | None
    provider: str
    name: str
    keyid: str
    key: Ed25519PrivateKey
    last_seq: int = 0

    def next_batch(
        self,
        records: Iterable[Record] = (),
        voids: Iterable[Void] = (),
        purchases: Iterable[Purchase] = (),
    ) -> Batch:
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
            purchases=list(purchases),
        )

    def sign(self, batch: Batch) -> bytes:
        """Return the batch's envelope: the same bytes each time."""
        return sign_batch(batch, self.keyid, self.key)


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
class _Response:
    status: int
    headers: Mapping[str, str]
    body: bytes


class Service:
    """A service at a URL; use it as `async with Service(url) as service`.

    Sending twice does no harm, so each call is repeated on a lost connection and on 503. All
    methods raise `Refused` or `Unreachable`. Posting a batch needs no `token`. `trust` makes the
    `tls` of a service behind an own CA, or behind a proxy that wants a certificate.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        tls: ssl.SSLContext | None = None,
        attempts: int = ATTEMPTS,
        first_pause_seconds: float = FIRST_PAUSE_SECONDS,
    ) -> None:
        self._url = url.rstrip("/")
        self._headers: dict[str, str] = {}
        if token is not None:
            self._headers[hdrs.AUTHORIZATION] = f"Bearer {token}"
        self._tls = tls
        self._attempts = attempts
        self._first_pause_seconds = first_pause_seconds
        self._clock_ahead_seconds = 0.0

    @property
    def clock_ahead_seconds(self) -> float:
        """Seconds that this machine's clock is ahead of the service's; negative if behind.

        This much at least, by the last response; zero before one.
        """
        return self._clock_ahead_seconds

    async def __aenter__(self) -> Self:
        self._session = open_session(self._headers, TIMEOUT_SECONDS, self._tls)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def post_batch(self, envelope: bytes, receipt_key: str) -> VerifiedReceipt:
        """Post an envelope and check its receipt by the key (base64) of the ledger's entry 0.

        Raises `BadReceipt` too; the batch may be in the ledger then, but nothing proves it. Raises
        `ClientError` (`malformed`, `weak_key`) for what is no key, and then nothing was sent.
        """
        public_key = _parse_key(receipt_key)
        answer = await self._send(hdrs.METH_POST, "/v1/usage", envelope)
        signature = answer.headers.get("Kashi-Signature", "")
        _check_signature(answer.body, signature, public_key)
        return VerifiedReceipt(answer.body, signature, _receipt_for(envelope, answer.body))

    async def post_unverified(self, envelope: bytes) -> SignedReceipt:
        """Post an envelope and check only that the receipt is for it. Raises `BadReceipt` too."""
        answer = await self._send(hdrs.METH_POST, "/v1/usage", envelope)
        signature = answer.headers.get("Kashi-Signature", "")
        return SignedReceipt(answer.body, signature, _receipt_for(envelope, answer.body))

    async def proved(self, digest: str) -> StoredReceipt:
        """Fetch a batch with its receipt and proof, by the hex sha256 of its payload.

        Asks again while the batch is not published yet. Needs a token of its provider or of an
        official.
        """
        answer = await self._send(hdrs.METH_GET, f"/v1/batches/{digest}/proof")
        try:
            return stored_receipt.parse(answer.body)
        except LedgerError as error:
            raise ClientError("not_kashi", str(error)) from None

    async def command(self, path: str, body: Mapping[str, Any], request: str) -> dict[str, Any]:
        """Post the authority's command; `request` is its idempotency key."""
        data = json.dumps(body, ensure_ascii=False).encode()
        answer = await self._send(hdrs.METH_POST, path, data, {"Idempotency-Key": request})
        return _object(answer)

    async def ask(self, path: str, **query: str | int) -> dict[str, Any]:
        """Return the JSON of a GET."""
        return _object(await self._send(hdrs.METH_GET, path, query=query))

    async def _send(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str | int] | None = None,
    ) -> _Response:
        """Send until a response comes; the bytes are the same each time."""
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
                    told = f"{self._url}{path}: {one_line(f'{lost}') or type(lost).__name__}"
                    raise Unreachable("unreachable", told) from None
                wait_seconds = pause_seconds
            else:
                if answer.status not in _TRY_AGAIN or not left:
                    return _check_accepted(answer)
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
    ) -> _Response:
        sent = time.time()
        async with self._session.request(
            method,
            self._url + path,
            data=body,
            headers=headers,
            params=query,
            allow_redirects=False,  # a redirected POST may turn into a GET
        ) as response:
            self._compare_clocks(response.headers.get(TIME, ""), sent, time.time())
            return _Response(response.status, response.headers, await _read(response))

    def _compare_clocks(self, service_time: str, sent: float, received: float) -> None:
        """Note what the clocks surely differ by: the service answered between the two instants."""
        if not _MICROSECONDS.fullmatch(service_time):
            return
        service = int(service_time) / 1_000_000
        self._clock_ahead_seconds = max(0.0, sent - service) + min(0.0, received - service)


def trust(ca: Path | None, certificate: Path | None, key: Path | None) -> ssl.SSLContext:
    """Return what https connections trust: one CA, or those of the system; and who calls.

    Raises `OSError` (`ssl.SSLError` too) where a file is not there, or holds something else.
    """
    context = ssl.create_default_context(cafile=ca)
    if certificate is not None:
        context.load_cert_chain(certificate, key)
    return context


def open_session(
    headers: Mapping[str, str], limit_seconds: float, tls: ssl.SSLContext | None = None
) -> aiohttp.ClientSession:
    """Return a session whose requests end within the limit, the response included.

    It keeps no cookies, and decompresses nothing: a small response could become one of any size.
    """
    return aiohttp.ClientSession(
        headers={hdrs.ACCEPT_ENCODING: "identity", **headers},
        timeout=aiohttp.ClientTimeout(total=limit_seconds),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        connector=aiohttp.TCPConnector(ssl=True if tls is None else tls),
    )


async def plain_chunks(response: aiohttp.ClientResponse, size_bytes: int) -> AsyncIterator[bytes]:
    """Yield the body of a response, at most so many bytes at a time.

    Raises `aiohttp.ClientPayloadError` for a compressed one: nobody asked for that.
    """
    encoding = response.headers.get(hdrs.CONTENT_ENCODING, "identity")
    if encoding != "identity":
        raise aiohttp.ClientPayloadError(f"the response is compressed: {encoding:.40}")
    async for chunk in response.content.iter_chunked(size_bytes):
        yield chunk


async def _read(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in plain_chunks(response, MAX_RESPONSE_BYTES):
        body += chunk
        if len(body) > MAX_RESPONSE_BYTES:
            raise ClientError("not_kashi", f"the response has more than {MAX_RESPONSE_BYTES} bytes")
    return bytes(body)


def _retry_after(answer: _Response, otherwise_seconds: float) -> float:
    text = answer.headers.get(hdrs.RETRY_AFTER, "")
    return float(text) if text.isascii() and text.isdigit() else otherwise_seconds


def _check_accepted(answer: _Response) -> _Response:
    """Return a good response. Raises `Refused` with the facts of the problem document."""
    if 200 <= answer.status < 300:
        return answer
    try:
        facts = _object(answer)
    except ClientError:
        facts = {}
    code = str(facts.get("code", f"http_{answer.status}"))
    raise Refused(answer.status, code, str(facts.get("detail", "no problem document")), facts)


def _object(answer: _Response) -> dict[str, Any]:
    try:
        return msgspec.json.decode(answer.body, type=dict[str, Any])
    except (ValueError, RecursionError):
        raise ClientError("not_kashi", "the response is not of this service") from None


def _parse_key(text: str) -> bytes:
    try:
        return dsse.parse_public_key(text)
    except Problem as problem:
        raise ClientError(problem.code, f"the receipt key: {problem.detail}") from None


def _check_signature(body: bytes, header: str, public_key: bytes) -> None:
    try:
        signatures = dsse.parse_signature_header(header)
    except ValueError as error:
        raise BadReceipt("bad_receipt_signature", str(error)) from None
    # While two keys sign, one signature by the known key is enough.
    if not any(
        dsse.is_signed_by(public_key, RECEIPT_TYPE, body, signature) for _, signature in signatures
    ):
        raise BadReceipt("bad_receipt_signature", "the receipt key did not sign this response")


def _receipt_for(envelope: bytes, body: bytes) -> Receipt:
    """Read a receipt and compare it with the batch that was sent."""
    try:
        return receipt_for(dsse.parse(envelope, BATCH_TYPE).payload, body)
    except WrongReceipt as wrong:
        raise BadReceipt(wrong.code, wrong.detail) from None
