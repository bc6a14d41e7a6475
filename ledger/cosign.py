"""Cosignatures: lines that witnesses add to a log's checkpoint (C2SP tlog-cosignature, Ed25519).

A cosigner states that at a certain time this was the largest tree of the log that it had seen, and
that the log had only grown. It signs two lines and the text of the checkpoint,

    cosignature/v1
    time 1767225600
    example.com/log
    3
    OF2jDzkXKCyJOd/4UZV+UZqxhGsTUaFMCts7EWMnQqo=

and adds a line to the note. Its base64 is the key's id, the time in seconds since 1970 as eight
bytes, big-endian, and the signature. With the key of seed 20 21 .. 3f,

    — example.com/w1 S6+3EAAAAABpVbkA9ttiY9BmmzcHmrzGLP/Qy+x9ZqN0l38T+ccP7vUpBk4OUA5pkYJHWBcNu2llOlsbW7ap/Rgu6ZH2HdO0M4WuCg==

The key has two texts, like a log's key (`ledger.note`), with type 0x04 in place of 0x01. C2SP
defines the public one; the secret one is our own:

    example.com/w1+4bafb710+BCmsuuFBvMrwsi4alNNNC8c2HlJtC/4SyJeUvJMilm3X
    PRIVATE+KEY+example.com/w1+4bafb710+BCAhIiMkJSYnKCkqKywtLi8wMTIzNDU2Nzg5Ojs8PT4/

The signed lines do not hold the cosigner's name. So a name has one key here, and a key should have
one name.
"""  # noqa: E501 (a signature line is as long as it is)

from collections.abc import Iterable
from dataclasses import dataclass
from struct import Struct
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger.errors import BadNote
from ledger.note import (
    Checkpoint,
    PublicKey,
    Verifier,
    format_private_key,
    format_signature,
    open_checkpoint,
    parse_private_key,
    parse_signature,
    private_key,
    split_note,
)

# The latest time that C2SP allows.
MAX_TIME: Final = 2**63 - 1

_TIME: Final = Struct(">Q")


class CosignatureVerifier(PublicKey):
    """The key of a cosigner, which signs checkpoints together with the time."""

    __slots__ = ()
    key_type = b"\x04"

    def cosigned_at(self, text: str, signature: bytes) -> int | None:
        """Return when `text` was cosigned, in seconds since 1970; None for a wrong signature."""
        time = int.from_bytes(signature[: _TIME.size], "big")
        if time <= MAX_TIME and self.verifies(_message(text, time), signature[_TIME.size :]):
            return time
        return None


class Cosigner:
    """The private key of a cosigner and its name."""

    __slots__ = ("_key", "verifier")

    def __init__(self, name: str, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.verifier = CosignatureVerifier(name, key.public_key().public_bytes_raw())

    @property
    def name(self) -> str:
        return self.verifier.name

    def cosign(self, checkpoint_text: str, time: int) -> str:
        """Return the signature line, with its line feed; `time` is in seconds since 1970.

        Raises `BadNote` for a text that is no checkpoint: this key signs nothing else.
        """
        Checkpoint.parse(checkpoint_text)
        if not 0 <= time <= MAX_TIME:
            raise BadNote(f"{time} is no time of a cosignature")
        signature = self._key.sign(_message(checkpoint_text, time))
        return format_signature(self.verifier, _TIME.pack(time) + signature)

    def format(self) -> str:
        """Return the secret text."""
        return format_private_key(self.verifier, self._key)

    @classmethod
    def from_seed(cls, name: str, seed: bytes) -> "Cosigner":
        """Return the cosigner whose key has these 32 bytes, the private key of RFC 8032."""
        return cls(name, private_key(seed))

    @classmethod
    def parse(cls, text: str) -> "Cosigner":
        """Read the secret text. Raises `BadKey`; the error never repeats the text."""
        return cls(*parse_private_key(text, CosignatureVerifier))


@dataclass(frozen=True, slots=True)
class Cosigned:
    """A checkpoint that its log has signed, and the times of its cosignatures.

    `times` has seconds since 1970 by the cosigner's name, in the order of the lines. A trust policy
    (`ledger.quorum`) says whether these cosigners are enough.
    """

    checkpoint: Checkpoint
    times: dict[str, int]


def open_cosigned(
    data: bytes, verifier: Verifier, cosigners: Iterable[CosignatureVerifier]
) -> Cosigned:
    """Return the checkpoint of a note that the log itself has signed, and its cosignatures.

    Lines of other keys are ignored. Raises `BadNote`, also for a single wrong line of a known key.
    """
    return Cosigned(open_checkpoint(data, verifier), cosigning_times(data, cosigners))


def cosigning_times(data: bytes, cosigners: Iterable[CosignatureVerifier]) -> dict[str, int]:
    """Return the time of each known cosigner's signature by name; see `open_cosigned`."""
    text, signatures = split_note(data)
    known = _by_name(cosigners)
    times: dict[str, int] = {}
    for signature in signatures:
        cosigner = known.get(signature.name)
        if cosigner is None or cosigner.key_id != signature.key_id:
            continue
        if cosigner.name in times:
            raise BadNote(f"{cosigner.name} has cosigned twice")
        time = cosigner.cosigned_at(text, signature.signature)
        if time is None:
            raise BadNote(f"the cosignature of {cosigner.name} does not fit the text")
        times[cosigner.name] = time
    return times


def add_cosignatures(note: bytes, lines: Iterable[str]) -> bytes:
    """Return the note with these signature lines at its end; the lines before stay as they are.

    A line is left out if the note has its name and key id already. Nothing is verified here: a
    wrong line spoils the note for all who know its key. Raises `BadNote` for a malformed line, and
    for too many lines.
    """
    seen = {(signature.name, signature.key_id) for signature in split_note(note)[1]}
    for line in lines:
        signature = parse_signature(line)
        if (signature.name, signature.key_id) not in seen:
            seen.add((signature.name, signature.key_id))
            note += line.encode()
    split_note(note)
    return note


def _message(text: str, time: int) -> bytes:
    return f"cosignature/v1\ntime {time}\n{text}".encode()


def _by_name(cosigners: Iterable[CosignatureVerifier]) -> dict[str, CosignatureVerifier]:
    distinct = set(cosigners)
    known = {cosigner.name: cosigner for cosigner in distinct}
    # Otherwise one name would have two times, and could count as two witnesses.
    if len(known) < len(distinct):
        raise BadNote("two known cosigners have the same name")
    return known
