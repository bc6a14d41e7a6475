"""From bytes to a verified batch: envelope, key, signature, payload, in this order."""

from collections.abc import Mapping
from typing import Final

from meter.rules.state import Key
from meter.values.problems import Problem
from meter.wire.batch import MAX_BATCH_BYTES, SignedBatch, parse_batch
from meter.wire.dsse import BATCH_TYPE, is_signed_by, parse

# The base point: a good key, whose private half (1 modulo the order) no seed is known to give.
_NOBODYS_KEY: Final = bytes.fromhex("58" + "66" * 31)


def verified(keys: Mapping[str, Key], data: bytes) -> SignedBatch:
    """Return the batch of an envelope that one of the keys signed. Raises `Problem`.

    The codes are `too_large`, `bad_envelope`, `bad_signature` and `bad_batch`. A key that is not
    registered is refused as a wrong signature is, and after the same work: nobody learns which keys
    there are.
    """
    if len(data) > MAX_BATCH_BYTES:
        raise Problem("too_large", f"more than {MAX_BATCH_BYTES} bytes")
    envelope = parse(data, BATCH_TYPE)
    key = keys.get(envelope.keyid)
    public_key = _NOBODYS_KEY if key is None else key.public_key
    is_signed = is_signed_by(public_key, BATCH_TYPE, envelope.payload, envelope.signature)
    if key is None or not is_signed:
        raise Problem("bad_signature", f"no registered key {envelope.keyid} signed the payload")
    return parse_batch(envelope, data)
