"""Proof of possession: a provider's key signs its own registration.

    kashi key possession
    kashi.example/shenzhen
    pcl
    pcl-2025a

These are the log's origin, the provider and the keyid, each line ended by a line feed. The proof is
the base64 of the key's Ed25519 signature over exactly this text. So nobody registers a key that is
another's, and a proof is worth nothing in another ledger, for another provider or keyid. A batch's
signed bytes begin with "DSSEv1", so neither signature can stand for the other.
"""

import base64

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger import ed25519
from meter.values.problems import Problem
from meter.wire.dsse import decode_base64


def text(log: str, provider: str, keyid: str) -> bytes:
    """Return what the key signs."""
    return f"kashi key possession\n{log}\n{provider}\n{keyid}\n".encode()


def prove(key: Ed25519PrivateKey, log: str, provider: str, keyid: str) -> str:
    """Return the proof."""
    return base64.b64encode(key.sign(text(log, provider, keyid))).decode()


def check(public_key: bytes, proof: str, log: str, provider: str, keyid: str) -> None:
    """Raise `Problem` `malformed` or `bad_proof` for what is not the key's own proof."""
    try:
        signature = decode_base64(proof)
    except ValueError as error:
        raise Problem("malformed", f"proof: {error}") from None
    signed = text(log, provider, keyid)
    if not ed25519.has_signed(public_key, signed, signature):
        raise Problem("bad_proof", f"the key has not signed {signed.decode()!r}")
