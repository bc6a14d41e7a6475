"""The formats again, from SHA-256, base64 and Ed25519 alone: nothing of the two packages.

A vector made here follows the format, whatever our code does. Trees are computed by the recursion
of RFC 9162 section 2.1, word for word, and slowly.
"""

from base64 import b64encode
from dataclasses import dataclass
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

# The order of Ed25519's group: with it added to the second half, a signature has another spelling.
GROUP_ORDER = 2**252 + 27742317777372353535851937790883648493


# Trees


def leaf(entry: bytes) -> bytes:
    return sha256(b"\x00" + entry).digest()


def node(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()


def root(leaves: list[bytes]) -> bytes:
    """Return MTH of leaf hashes."""
    if len(leaves) < 2:
        return leaves[0] if leaves else sha256(b"").digest()
    split = _split(len(leaves))
    return node(root(leaves[:split]), root(leaves[split:]))


def inclusion(index: int, leaves: list[bytes]) -> list[bytes]:
    """Return PATH (section 2.1.3.1)."""
    if len(leaves) == 1:
        return []
    split = _split(len(leaves))
    if index < split:
        return [*inclusion(index, leaves[:split]), root(leaves[split:])]
    return [*inclusion(index - split, leaves[split:]), root(leaves[:split])]


def consistency(old: int, leaves: list[bytes]) -> list[bytes]:
    """Return PROOF (section 2.1.4.1); empty too where the old tree is empty."""
    return _subproof(old, leaves, whole=True) if old else []


def climbed(at: bytes, index: int, size: int, path: list[bytes]) -> bytes:
    """Return the root to which a path of the right length leads from a leaf hash."""
    if size == 1:
        return at
    split = _split(size)
    if index < split:
        return node(climbed(at, index, split, path[:-1]), path[-1])
    return node(path[-1], climbed(at, index - split, size - split, path[:-1]))


def framed(*entries: bytes) -> bytes:
    """Return an entry bundle (C2SP tlog-tiles)."""
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


def files(entries: list[bytes]) -> dict[str, bytes]:
    """Return the tiles of a log of less than 65,536 entries, by path."""
    leaves = [leaf(entry) for entry in entries]
    groups = [leaves[start : start + 256] for start in range(0, len(leaves), 256)]
    found = {}
    for number, group in enumerate(groups):
        bundle = framed(*entries[256 * number : 256 * number + 256])
        found[_path("tile/entries", number, len(group))] = bundle
        found[_path("tile/0", number, len(group))] = b"".join(group)
    if roots := [root(group) for group in groups if len(group) == 256]:
        found[_path("tile/1", 0, len(roots))] = b"".join(roots)
    return found


def _subproof(old: int, leaves: list[bytes], *, whole: bool) -> list[bytes]:
    if old == len(leaves):
        return [] if whole else [root(leaves)]
    split = _split(len(leaves))
    if old <= split:
        return [*_subproof(old, leaves[:split], whole=whole), root(leaves[split:])]
    return [*_subproof(old - split, leaves[split:], whole=False), root(leaves[:split])]


def _split(size: int) -> int:
    """Return the largest power of two below the size."""
    split = 1
    while split * 2 < size:
        split *= 2
    return split


def _path(folder: str, number: int, width: int) -> str:
    return f"{folder}/{number:03}" + ("" if width == 256 else f".p/{width}")


# Keys


@dataclass(frozen=True)
class Key:
    """An Ed25519 key whose seed is the 32 bytes that count up from `first`."""

    first: int

    @property
    def public(self) -> bytes:
        return self._private.public_key().public_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        return self._private.sign(message)

    @property
    def _private(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(bytes(range(self.first, self.first + 32)))


@dataclass(frozen=True)
class NoteKey:
    """A key with the name and the type (1 log, 4 cosigner) with which it signs notes."""

    name: str
    kind: int
    key: Key

    @property
    def id(self) -> bytes:
        return sha256(self.name.encode() + b"\n" + self._typed).digest()[:4]

    @property
    def vkey(self) -> str:
        return f"{self.name}+{self.id.hex()}+{base64(self._typed)}"

    def line(self, text: bytes) -> bytes:
        """Return the signature line of a log."""
        return line(self.name, self.id + self.key.sign(text))

    def cosigned(self, text: bytes, seconds: int) -> bytes:
        """Return the signature line of a cosigner."""
        signature = self.key.sign(b"cosignature/v1\ntime %d\n%s" % (seconds, text))
        return line(self.name, self.id + seconds.to_bytes(8, "big") + signature)

    @property
    def _typed(self) -> bytes:
        return bytes([self.kind]) + self.key.public


def line(name: str, blob: bytes) -> bytes:
    return f"— {name} {base64(blob)}\n".encode()


def note(text: bytes, *lines: bytes) -> bytes:
    return text + b"\n" + b"".join(lines)


def checkpoint(origin: str, size: int, root_hash: bytes) -> bytes:
    return f"{origin}\n{size}\n{base64(root_hash)}\n".encode()


def pae(payload_type: str, payload: bytes) -> bytes:
    """Return what a DSSE v1 signature covers."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def respelled(signature: bytes) -> bytes:
    """Return the other spelling of an Ed25519 signature, which RFC 8032 forbids."""
    half = int.from_bytes(signature[32:], "little") + GROUP_ORDER
    return signature[:32] + half.to_bytes(32, "little")


def loose(text: str) -> str:
    """Return base64 with padding in its other spelling: a bit that no byte uses is set."""
    letters = text.rstrip("=")
    assert len(letters) < len(text), "without padding there is no such bit"
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    last = alphabet[alphabet.index(letters[-1]) ^ 1]
    return letters[:-1] + last + text[len(letters) :]


def base64(data: bytes) -> str:
    return b64encode(data).decode()


# The keys of the vectors; the README names the seeds.
LOG = NoteKey("example.com/log", 1, Key(0x00))
WITNESS = NoteKey("example.com/w1", 4, Key(0x20))
OTHER_LOG = NoteKey("example.com/other", 1, Key(0x40))
OTHER_WITNESS = NoteKey("example.com/w2", 4, Key(0xE0))
PROVIDER = Key(0x60)
RECEIPTS = Key(0x80)
NEW_RECEIPTS = Key(0xC0)
STRANGER = Key(0xA0)

# The worked example: three entries, their tree, the checkpoint, and when the witness cosigned it.
ENTRIES = [b"alpha", b"beta", b"gamma"]
LEAVES = [leaf(entry) for entry in ENTRIES]
TEXT = checkpoint(LOG.name, 3, root(LEAVES))
SECONDS = 1_767_225_600
