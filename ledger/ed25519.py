"""Ed25519 public keys that may be trusted, and their signatures (RFC 8032, pure Ed25519).

A good key is the canonical encoding of a point of the prime-order subgroup, not the identity. Every
other key is weak, and is refused wherever a key is read:

    a point of small order, as the identity        anyone signs for it: R the identity, S zero
    a good point plus one of small order           verifiers differ on the same signature, for RFC
                                                   8032 section 5.1.7 allows them two equations
    a second encoding of a point                   one key under two names
    what encodes no point                          nobody can sign, and programs differ on it

`cryptography` verifies signatures but offers no such check, so the curve's arithmetic is here. It
sees public values only, and need not take a constant time: no secret may come into it.
"""

from functools import lru_cache
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from ledger.errors import BadKey, WeakKey

KEY_BYTES: Final = 32

# RFC 8032 section 5.1: the field's prime, the subgroup's order, the curve's d.
_P: Final = 2**255 - 19
_ORDER: Final = 2**252 + 27742317777372353535851937790883648493
_D: Final = -121665 * pow(121666, -1, _P) % _P
_ROOT_OF_MINUS_ONE: Final = pow(2, (_P - 1) // 4, _P)

# Extended homogeneous coordinates (section 5.1.4): X, Y, Z, T with x = X/Z, y = Y/Z, xy = T/Z.
_Point = tuple[int, int, int, int]
_IDENTITY: Final[_Point] = (0, 1, 1, 0)


def check(public_key: bytes) -> None:
    """Raise `WeakKey` for a weak key, `BadKey` for one that has not 32 bytes."""
    if len(public_key) != KEY_BYTES:
        raise BadKey(f"an Ed25519 key has {KEY_BYTES} bytes")
    if weakness := _weakness(public_key):
        # Without the bytes: somebody may have taken the secret half for the public one.
        raise WeakKey(f"the public key is {weakness}")


def has_signed(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Return whether a good key signed the message; a weak one has signed nothing."""
    key = _load(public_key)
    if key is None:
        return False
    try:
        key.verify(signature, message)
    except InvalidSignature:
        return False
    return True


@lru_cache(maxsize=1_024)
def _load(public_key: bytes) -> Ed25519PublicKey | None:
    try:
        check(public_key)
    except BadKey:
        return None
    return Ed25519PublicKey.from_public_bytes(public_key)


# The same keys come again and again, and a look at one takes about a millisecond.
@lru_cache(maxsize=4_096)
def _weakness(public_key: bytes) -> str:
    """Return what is wrong with a key of 32 bytes; nothing of a good one."""
    point = _decode(public_key)
    if point is None:
        return "not the canonical encoding of a point of the curve"
    if _is_identity(_times(8, point)):
        return "a point of small order: anyone can sign for it"
    if not _is_identity(_times(_ORDER, point)):
        return "outside the prime-order subgroup: verifiers differ on its signatures"
    return ""


def _decode(encoded: bytes) -> _Point | None:
    """Return the point of a canonical encoding (section 5.1.3)."""
    number = int.from_bytes(encoded, "little")
    sign, y = number >> 255, number % 2**255
    if y >= _P:
        return None
    # -1/d is no square, so that the denominator is never zero.
    x = _square_root((y * y - 1) * pow(_D * y * y + 1, -1, _P) % _P)
    if x is None or (x == 0 and sign):
        return None
    if x % 2 != sign:
        x = _P - x
    return x, y, 1, x * y % _P


def _square_root(square: int) -> int | None:
    """Return one of the two roots (section 5.1.3, steps 2 and 3)."""
    root = pow(square, (_P + 3) // 8, _P)
    for candidate in (root, root * _ROOT_OF_MINUS_ONE % _P):
        if candidate * candidate % _P == square:
            return candidate
    return None


def _times(factor: int, point: _Point) -> _Point:
    product = _IDENTITY
    for bit in f"{factor:b}":
        product = _add(product, product)
        if bit == "1":
            product = _add(product, point)
    return product


def _add(left: _Point, right: _Point) -> _Point:
    """Return the sum, also of a point with itself: the formulas are complete (section 5.1.4)."""
    x1, y1, z1, t1 = left
    x2, y2, z2, t2 = right
    a = (y1 - x1) * (y2 - x2) % _P
    b = (y1 + x1) * (y2 + x2) % _P
    c = 2 * _D * t1 * t2 % _P
    d = 2 * z1 * z2 % _P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _is_identity(point: _Point) -> bool:
    x, y, z, _ = point
    return x == 0 and y == z
