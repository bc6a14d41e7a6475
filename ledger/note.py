"""Signed notes, and checkpoints, which are signed as notes (C2SP signed-note, tlog-checkpoint).

A note is a text of whole lines, an empty line, and signature lines: a dash (U+2014), the name of
the key, and base64 of the key's four-byte id and the signature. A checkpoint's text is the origin
of the log, its size and the base64 of its root. With the key of seed 00 01 .. 1f,

    example.com/log
    3
    OF2jDzkXKCyJOd/4UZV+UZqxhGsTUaFMCts7EWMnQqo=

    — example.com/log 1FXFIdzWOMUF5pSezGt/DmachpVXciLFKKnZ+sgRl97K9vchkGNZ+yCxWnHYduoRdIk6cnzBL/mXmCHblaLJwlXARAI=

The signature covers the text with its last line feed, not the empty line. A text may hold empty
lines itself, so the last empty line is its end. The key has a public text, and a secret one in the
form of Go's x/mod:

    example.com/log+d455c521+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4
    PRIVATE+KEY+example.com/log+d455c521+AQABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f

The id is the beginning of SHA-256(name || 0x0A || 0x01 || public key). 0x01 stands for Ed25519, and
both base64 parts begin with it.

Every text is read in one spelling only. Here cosignatures are lines of unknown keys;
`ledger.cosign` reads them.
"""  # noqa: E501 (a signature line is as long as it is)

import re
from base64 import b64decode, b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import ClassVar, Final, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger import ed25519
from ledger.errors import BadKey, BadNote, NotSigned
from ledger.tlog import HASH_BYTES

# C2SP asks for at least 16. Each line of a known key costs a verification, so there is a limit.
MAX_SIGNATURES: Final = 100

# Three times the room of that many signatures of 2,420 bytes (ML-DSA-44), the longest of C2SP.
MAX_NOTE_BYTES: Final = 1_000_000

# Other logs hold sizes in signed 64-bit integers.
MAX_SIZE: Final = 2**63 - 1

_ID_BYTES: Final = 4
_PRIVATE: Final = "PRIVATE+KEY+"

# A name has no Unicode space and no "+". It has no control character, because a note has none.
_NAME: Final = re.compile(r"[^\s+\x00-\x1f\ud800-\udfff]+")
_SIGNATURE: Final = re.compile(rf"— (?P<name>{_NAME.pattern}) (?P<encoded>[^\n]*)\n")
_NOT_IN_NOTES: Final = re.compile(r"[\x00-\x09\x0b-\x1f\ud800-\udfff]")
_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,18}")


@dataclass(frozen=True, slots=True)
class PublicKey:
    """An Ed25519 public key that is not weak (`ledger.ed25519`) and the name under which it signs.

    Each subclass signs other messages, and its `key_type` is part of the id.
    """

    key_type: ClassVar[bytes]

    name: str
    public_key: bytes

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise BadKey(f"{self.name!r:.200} cannot name a key")
        ed25519.check(self.public_key)

    @property
    def key_id(self) -> bytes:
        identity = self.name.encode() + b"\n" + self.key_type + self.public_key
        return sha256(identity).digest()[:_ID_BYTES]

    @property
    def label(self) -> str:
        """The name and id, for people."""
        return f"{self.name}+{self.key_id.hex()}"

    def verifies(self, message: bytes, signature: bytes) -> bool:
        return ed25519.has_signed(self.public_key, message, signature)

    def format(self) -> str:
        return _format_key(self, self.public_key)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a vkey. Raises `BadKey`, also for an id that is not the key's, and `WeakKey`."""
        key = cls(*_parse_key(text, cls.key_type))
        if key.format() != text:
            raise BadKey(f"{text!r:.200} has another id or spelling than its key")
        return key


class Verifier(PublicKey):
    """The key of a log, which signs the texts of notes as they are."""

    __slots__ = ()
    key_type = b"\x01"

    def has_signed(self, text: str, signature: bytes) -> bool:
        return self.verifies(text.encode(), signature)


class Signer:
    """An Ed25519 private key and the name under which it signs."""

    __slots__ = ("_key", "verifier")

    def __init__(self, name: str, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.verifier = Verifier(name, key.public_key().public_bytes_raw())

    @property
    def name(self) -> str:
        return self.verifier.name

    def signature(self, text: str) -> bytes:
        return self._key.sign(text.encode())

    def format(self) -> str:
        """Return the secret text."""
        return format_private_key(self.verifier, self._key)

    @classmethod
    def from_seed(cls, name: str, seed: bytes) -> "Signer":
        """Return the signer whose key has these 32 bytes, the private key of RFC 8032."""
        return cls(name, private_key(seed))

    @classmethod
    def parse(cls, text: str) -> "Signer":
        """Read the secret text. Raises `BadKey`; the error never repeats the text."""
        return cls(*parse_private_key(text, Verifier))


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature line."""

    name: str
    key_id: bytes
    signature: bytes

    @property
    def label(self) -> str:
        """The name and id of the key, for people."""
        return f"{self.name}+{self.key_id.hex()}"


@dataclass(frozen=True, slots=True)
class Note:
    """A text, and its verified signatures: at least one."""

    text: str
    signatures: tuple[Signature, ...]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The origin of a log, its number of entries, and their root."""

    origin: str
    size: int
    root: bytes

    def __post_init__(self) -> None:
        if not self.origin or "\n" in self.origin or _NOT_IN_NOTES.search(self.origin):
            raise BadNote(f"{self.origin!r:.200} cannot be an origin")
        if not 0 <= self.size <= MAX_SIZE:
            raise BadNote(f"a log cannot have {self.size} entries")
        if len(self.root) != HASH_BYTES:
            raise BadNote(f"a root has {HASH_BYTES} bytes")

    def format(self) -> str:
        return f"{self.origin}\n{self.size}\n{b64encode(self.root).decode()}\n"

    @classmethod
    def parse(cls, text: str) -> "Checkpoint":
        """Read the text of a note. Raises `BadNote`, also for extension lines: we have none."""
        lines = text.split("\n")
        if len(lines) != 4 or lines[3]:
            raise BadNote("a checkpoint is an origin, a size and a root, one to a line")
        return cls(lines[0], parse_number(lines[1]), decode_base64(lines[2]))


def sign(text: str, *signers: Signer) -> bytes:
    """Return the note of a text of whole lines, with a signature line for each signer."""
    if not text.endswith("\n") or _NOT_IN_NOTES.search(text):
        raise BadNote("a note is whole lines without control characters")
    if not 0 < len({signer.verifier for signer in signers}) == len(signers):
        raise BadNote("a note needs signers, each of them once")
    lines = (format_signature(signer.verifier, signer.signature(text)) for signer in signers)
    return f"{text}\n{''.join(lines)}".encode()


def open_note(data: bytes, verifiers: Iterable[Verifier]) -> Note:
    """Return the text of a note and its signatures by keys of `verifiers`, at least one.

    Lines of other keys are ignored. Raises `NotSigned` where all lines are, and `BadNote` for a bad
    note, also for a single wrong signature of a known key.
    """
    text, signatures = split_note(data)
    known = _by_name_and_id(verifiers)
    verified: dict[tuple[str, bytes], Signature] = {}
    for signature in signatures:
        key = (signature.name, signature.key_id)
        if key not in known:
            continue
        if key in verified:
            raise BadNote(f"{signature.name} has signed twice")
        if not known[key].has_signed(text, signature.signature):
            raise BadNote(f"the signature of {signature.name} does not fit the text")
        verified[key] = signature
    if not verified:
        raise NotSigned("none of the known keys has signed")
    return Note(text, tuple(verified.values()))


def open_checkpoint(data: bytes, verifier: Verifier) -> Checkpoint:
    """Return the checkpoint that the log itself has signed: its key is named as its origin."""
    checkpoint = Checkpoint.parse(open_note(data, [verifier]).text)
    if checkpoint.origin != verifier.name:
        raise BadNote(f"the checkpoint is of {checkpoint.origin!r:.200}, the key {verifier.name}'s")
    return checkpoint


def claimed_checkpoint(data: bytes) -> Checkpoint:
    """Return the checkpoint of a note without verifying any signature. Raises `BadNote`."""
    return Checkpoint.parse(split_note(data)[0])


def split_note(data: bytes) -> tuple[str, list[Signature]]:
    """Return the text and all signatures, of whichever keys, none of them verified."""
    if len(data) > MAX_NOTE_BYTES:
        raise BadNote(f"a note has at most {MAX_NOTE_BYTES} bytes")
    try:
        note = data.decode()
    except UnicodeDecodeError as error:
        raise BadNote("the note is not UTF-8") from error
    if _NOT_IN_NOTES.search(note):
        raise BadNote("the note has a control character")
    text, empty_line, block = note.rpartition("\n\n")
    if not note.endswith("\n") or not empty_line or not block:
        raise BadNote("a note is a text, an empty line, and lines of signatures")
    lines = block.removesuffix("\n").split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise BadNote(f"a note has at most {MAX_SIGNATURES} signatures")
    return text + "\n", [parse_signature(f"{line}\n") for line in lines]


def format_signature(key: PublicKey, signature: bytes) -> str:
    """Return the line of a signature by this key, with its line feed."""
    return f"— {key.name} {b64encode(key.key_id + signature).decode()}\n"


def parse_signature(line: str) -> Signature:
    """Read a signature line, with its line feed. Raises `BadNote`."""
    if not (match := _SIGNATURE.fullmatch(line)):
        raise BadNote(f"{line!r:.200} is not a line of a signature")
    blob = decode_base64(match["encoded"])
    if len(blob) <= _ID_BYTES:
        raise BadNote(f"{line!r:.200} has no room for a signature")
    return Signature(match["name"], blob[:_ID_BYTES], blob[_ID_BYTES:])


def private_key(seed: bytes) -> Ed25519PrivateKey:
    """Return the key of the 32 bytes that RFC 8032 calls the private key."""
    if len(seed) != 32:
        raise BadKey("the seed of an Ed25519 key has 32 bytes")
    return Ed25519PrivateKey.from_private_bytes(seed)


def format_private_key(public: PublicKey, key: Ed25519PrivateKey) -> str:
    """Return the secret text of the key that belongs to `public`."""
    return _PRIVATE + _format_key(public, key.private_bytes_raw())


def parse_private_key(text: str, kind: type[PublicKey]) -> tuple[str, Ed25519PrivateKey]:
    """Return the name and the key of a secret text; its public key is of type `kind`.

    Raises `BadKey`; the error never repeats the text.
    """
    if not text.startswith(_PRIVATE):
        raise BadKey(f"a private key begins with {_PRIVATE}")
    name, seed = _parse_key(text.removeprefix(_PRIVATE), kind.key_type)
    key = private_key(seed)
    if format_private_key(kind(name, key.public_key().public_bytes_raw()), key) != text:
        raise BadKey("the private key has another id or spelling than its seed")
    return name, key


def parse_number(text: str) -> int:
    """Read a size or an entry number: decimal, no leading zeros. Raises `BadNote`."""
    if not _NUMBER.fullmatch(text):
        raise BadNote(f"{text!r:.200} is not a number of entries")
    return int(text)


def decode_base64(text: str) -> bytes:
    """Read padded base64 (RFC 4648 section 4) whose unused bits are zero. Raises `BadNote`."""
    try:
        data = b64decode(text, validate=True)
    except ValueError as error:
        raise BadNote(f"{text!r:.200} is not base64") from error
    if b64encode(data).decode() != text:
        raise BadNote(f"{text!r:.200} is another spelling of base64")
    return data


def _by_name_and_id(verifiers: Iterable[Verifier]) -> dict[tuple[str, bytes], Verifier]:
    distinct = set(verifiers)
    known = {(verifier.name, verifier.key_id): verifier for verifier in distinct}
    # Two keys can be made to have one id of four bytes. Then a line could be of either.
    if len(known) < len(distinct):
        raise BadNote("two known keys have the same name and id")
    return known


def _format_key(public: PublicKey, key: bytes) -> str:
    return f"{public.name}+{public.key_id.hex()}+{b64encode(public.key_type + key).decode()}"


def _parse_key(text: str, key_type: bytes) -> tuple[str, bytes]:
    """Return the name and the 32 bytes; the caller formats them again to check the rest."""
    # At most two splits, because "+" is a digit of base64 too.
    parts = text.split("+", 2)
    try:
        name, _, encoded = parts
        blob = b64decode(encoded, validate=True)
    except ValueError as error:
        raise BadKey("a key is name+id+base64") from error
    if blob[:1] != key_type:
        raise BadKey(f"the key is not of type {key_type[0]}")
    return name, blob[1:]
