"""DSSE v1 envelopes of exactly one signature (secure-systems-lab/dsse, protocol.md).

    {"payloadType":"application/vnd.kashi.usage-batch+json","payload":"<base64>",
     "signatures":[{"keyid":"pcl-2025a","sig":"<base64>"}]}

The signature covers `PAE = "DSSEv1" SP LEN(type) SP type SP LEN(body) SP body`, lengths in ASCII
decimal. Base64 is the standard alphabet, padded, in its one canonical spelling. Which algorithm a
signature uses is a property of the registered key, never of the envelope.
"""

import base64
import binascii
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import Struct

from ledger import ed25519
from ledger.errors import BadKey, WeakKey
from meter.values.problems import Problem
from meter.values.strict import Id, decode

BATCH_TYPE: Final = "application/vnd.kashi.usage-batch+json"
RECEIPT_TYPE: Final = "application/vnd.kashi.receipt+json"
_SIGNATURE: Final = re.compile(
    r'keyid="([A-Za-z0-9][A-Za-z0-9._-]{0,63})", sig=:([A-Za-z0-9+/]{86}==):'
)
MAX_SIGNATURES: Final = 8  # each costs a verification; two keys sign at most
# An envelope has 18: five names and four texts. To count them in 8 MiB takes some milliseconds, to
# read as long a list of signatures a second.
MAX_QUOTES: Final = 100


class _Signature(Struct, frozen=True, forbid_unknown_fields=True):
    keyid: Id
    sig: str


class Document(
    Struct, frozen=True, forbid_unknown_fields=True, rename={"payload_type": "payloadType"}
):
    """The JSON of an envelope."""

    payload_type: str
    payload: str
    signatures: list[_Signature]


class Envelope(Struct, frozen=True):
    """An envelope as it was received: nothing in it is proved yet."""

    payload_type: str
    payload: bytes
    keyid: str
    signature: bytes


def pae(payload_type: str, payload: bytes) -> bytes:
    """Return the pre-authentication encoding: the bytes that are signed."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def seal(payload_type: str, payload: bytes, keyid: str, key: Ed25519PrivateKey) -> bytes:
    """Sign a payload and return its envelope."""
    document = Document(
        payload_type,
        base64.b64encode(payload).decode(),
        [_Signature(keyid, base64.b64encode(sign(payload_type, payload, key)).decode())],
    )
    return msgspec.json.encode(document)


def parse(data: bytes, payload_type: str) -> Envelope:
    """Return an envelope of one type. Raises `Problem` `bad_envelope`."""
    try:
        _check_bounds(data)
        document = decode(data, Document)
        if document.payload_type != payload_type:
            raise ValueError(f"payloadType is not {payload_type}")  # noqa: TRY301
        if len(document.signatures) != 1:
            raise ValueError("exactly one signature is needed")  # noqa: TRY301
        signature = document.signatures[0]
        return Envelope(
            payload_type,
            decode_base64(document.payload),
            signature.keyid,
            decode_base64(signature.sig),
        )
    except ValueError as error:
        raise Problem("bad_envelope", str(error)) from None


def _check_bounds(data: bytes) -> None:
    """Raise `ValueError` for what is no envelope by its looks, before anything is decoded."""
    if not data.isascii():
        raise ValueError("not ASCII, as all of an envelope is")
    if data.count(b'"') > MAX_QUOTES:
        raise ValueError("exactly one signature is needed, and no other field")


def sign(payload_type: str, payload: bytes, key: Ed25519PrivateKey) -> bytes:
    """Return the signature of a payload: always the same 64 bytes (RFC 8032 section 5.1.6)."""
    return key.sign(pae(payload_type, payload))


def is_signed_by(public_key: bytes, payload_type: str, payload: bytes, signature: bytes) -> bool:
    """Return whether an Ed25519 key (32 bytes, not weak) made the signature."""
    return ed25519.has_signed(public_key, pae(payload_type, payload), signature)


def parse_public_key(text: str) -> bytes:
    """Return the 32 bytes of a key from their base64. Raises `Problem` `malformed`, `weak_key`."""
    try:
        public_key = decode_base64(text)
        ed25519.check(public_key)
    except WeakKey as error:
        raise Problem("weak_key", error.detail) from None
    except (ValueError, BadKey):
        raise Problem("malformed", "a public key is canonical base64 of 32 bytes") from None
    return public_key


def decode_base64(text: str) -> bytes:
    """Return the bytes of canonical, padded, standard base64. Raises `ValueError`."""
    try:
        data = binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        raise ValueError("not base64") from None
    # The last character may hold unused bits: two texts would mean the same bytes.
    last = (len(data) - 1) // 3 * 3
    if base64.b64encode(data[last:]) != text[-4:].encode():
        raise ValueError("not canonical base64")
    return data


@dataclass(frozen=True, slots=True)
class ReceiptSigner:
    """A receipt key of the service; `sign` returns its part of the `Kashi-Signature` header.

    Kashi-Signature: keyid="receipt-1", sig=:<base64>:

    While two keys sign, a comma and a space join their parts, the older key's first.
    """

    keyid: str
    key: Ed25519PrivateKey

    def sign(self, receipt: bytes) -> str:
        """Sign the exact bytes of a receipt."""
        signature = base64.b64encode(sign(RECEIPT_TYPE, receipt, self.key)).decode()
        return f'keyid="{self.keyid}", sig=:{signature}:'


def sign_receipt(receipt: bytes, signers: Iterable[ReceiptSigner]) -> str:
    """Return the `Kashi-Signature` header of a receipt that several keys sign."""
    return ", ".join(signer.sign(receipt) for signer in signers)


def parse_signature_header(text: str) -> list[tuple[str, bytes]]:
    """Return the key ids and signatures of a `Kashi-Signature` header. Raises `ValueError`."""
    found: list[tuple[str, bytes]] = []
    end = 0
    while match := _SIGNATURE.match(text, end):
        found.append((match[1], decode_base64(match[2])))
        end = match.end()
        if end == len(text) and len(found) <= MAX_SIGNATURES:
            return found
        if not text.startswith(", ", end):
            break
        end += 2
    raise ValueError("not a Kashi-Signature header")
