"""The salts of entries: 128 bits in hex, which keep an entry from being guessed by its leaf hash.

The authority's entries and a batch's own draw theirs at random. Those of a batch's voids, records
and purchases follow from the batch's, so that an audit can decide the batch again:

    HMAC-SHA256(key: the 16 bytes of the batch's salt, text: the number in decimal), 16 bytes of it

The number counts the voids, then the records, then the purchases of the batch, from 0, refused ones
too. Who knows the salt of one record (an enterprise, of its own) learns nothing of another's.
"""

from hashlib import sha256
from typing import Final

SALT_BYTES: Final = 16

_BLOCK_BYTES: Final = 64  # of SHA-256
_INNER: Final = bytes(byte ^ 0x36 for byte in range(256))
_OUTER: Final = bytes(byte ^ 0x5C for byte in range(256))


class Salts:
    """The salts that follow from `secret`, another salt as bytes.

    HMAC (RFC 2104) hashes two blocks of its key for each text. Here they are hashed once.
    """

    __slots__ = ("_inner", "_outer")

    def __init__(self, secret: bytes) -> None:
        key = secret.ljust(_BLOCK_BYTES, b"\0")
        self._inner = sha256(key.translate(_INNER))
        self._outer = sha256(key.translate(_OUTER))

    def of(self, number: int) -> str:
        """Return the salt of the entry with a number."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(b"%d" % number)
        outer.update(inner.digest())
        return outer.digest()[:SALT_BYTES].hex()
