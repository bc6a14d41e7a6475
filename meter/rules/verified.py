"""From bytes to a verified batch: envelope, key, signature, payload, in this order."""

from collections.abc import Mapping

from meter.rules.state import Key
from meter.values.problems import Problem
from meter.wire.batch import MAX_BATCH_BYTES, SignedBatch, parse_batch
from meter.wire.dsse import BATCH_TYPE, is_signed_by, parse


def verified(keys: Mapping[str, Key], data: bytes) -> SignedBatch:
    """Return the batch of an envelope that one of the keys signed. Raises `Problem`.

    The codes are `too_large`, `bad_envelope`, `unknown_key`, `bad_signature` and `bad_batch`.
    """
    if len(data) > MAX_BATCH_BYTES:
        raise Problem("too_large", f"more than {MAX_BATCH_BYTES} bytes")
    envelope = parse(data, BATCH_TYPE)
    key = keys.get(envelope.keyid)
    if key is None:
        raise Problem("unknown_key", f"no key {envelope.keyid}")
    if not is_signed_by(key.public_key, BATCH_TYPE, envelope.payload, envelope.signature):
        raise Problem("bad_signature", f"not a signature of {envelope.keyid} over the payload")
    return parse_batch(envelope, data)
