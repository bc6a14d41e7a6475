"""The salts of entries: 128 bits in hex, which keep an entry from being guessed by its leaf hash.

The authority's entries and a batch's own draw theirs at random. Those of a batch's voids, records
and purchases follow from the batch's, so that an audit can decide the batch again:

    HMAC-SHA256(key: the 16 bytes of the batch's salt, text: the number in decimal), 16 bytes of it

The number counts the voids, then the records, then the purchases of the batch, from 0, refused ones
too. Who knows the salt of one record (an enterprise, of its own) learns nothing of another's.
"""

import hmac
from typing import Final

SALT_BYTES: Final = 16


def salt_in_batch(secret: bytes, number: int) -> str:
    """Return the salt of an entry that follows from another; `secret` is that one's, as bytes."""
    return hmac.digest(secret, str(number).encode(), "sha256")[:SALT_BYTES].hex()
