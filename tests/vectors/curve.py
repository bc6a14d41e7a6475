"""The curve of Ed25519 by its textbook formulas: affine, slow, and with every weak key there is.

Points are pairs (x, y) on -x² + y² = 1 + d·x²·y² modulo 2^255 - 19 (RFC 8032 section 5.1).
"""

from tests.vectors.plain import GROUP_ORDER

PRIME = 2**255 - 19
Point = tuple[int, int]
IDENTITY = (0, 1)


def inverse(number: int) -> int:
    return pow(number, PRIME - 2, PRIME)


D = -121665 * inverse(121666) % PRIME


def add(first: Point, second: Point) -> Point:
    (x1, y1), (x2, y2) = first, second
    product = D * x1 * x2 * y1 * y2
    x = (x1 * y2 + x2 * y1) * inverse(1 + product)
    y = (y1 * y2 + x1 * x2) * inverse(1 - product)
    return x % PRIME, y % PRIME


def times(factor: int, point: Point) -> Point:
    if factor == 0:
        return IDENTITY
    half = times(factor // 2, point)
    return add(add(half, half), point) if factor % 2 else add(half, half)


def points(y: int) -> list[Point]:
    """Return the points of a y: two, one or none."""
    square = (y * y - 1) * inverse(D * y * y + 1) % PRIME
    root = pow(square, (PRIME + 3) // 8, PRIME)
    roots = (root, root * pow(2, (PRIME - 1) // 4, PRIME) % PRIME)
    found = {x for each in roots for x in (each, -each % PRIME) if x * x % PRIME == square}
    return [(x, y) for x in sorted(found)]


def order(point: Point) -> int:
    """Return the order of a point of small order."""
    return next(order for order in (1, 2, 4, 8) if times(order, point) == IDENTITY)


def encode(point: Point) -> bytes:
    """Return the canonical encoding (section 5.1.2)."""
    x, y = point
    return raw(y, x % 2)


def raw(number: int, sign: int) -> bytes:
    """Return 32 bytes: a number below 2^255, and the highest bit."""
    return (number + (sign << 255)).to_bytes(32, "little")


def decode(key: bytes) -> Point:
    """Return the point of a good key."""
    number = int.from_bytes(key, "little")
    sign, y = number >> 255, number % 2**255
    return next(each for each in points(y) if each[0] % 2 == sign)


def _small_order() -> list[Point]:
    """Return the multiples of a point of order 8: what the large subgroup's order leaves of one."""
    found = (times(GROUP_ORDER, point) for y in range(2, 100) for point in points(y))
    generator = next(each for each in found if order(each) == 8)
    return [times(factor, generator) for factor in range(8)]


SMALL_ORDER = _small_order()


def mixed(key: bytes) -> dict[str, bytes]:
    """Return a good key plus a point of order 2, 4 and 8."""
    by_order = {order(each): each for each in SMALL_ORDER}
    return {
        f"a good key plus a point of order {size}": encode(add(decode(key), by_order[size]))
        for size in (2, 4, 8)
    }


def respelled() -> dict[str, bytes]:
    """Return every encoding that is not canonical, though some encode no point anyway."""
    zero = {
        f"x = 0 with a sign, y = {'1' if y == 1 else '-1'}": raw(y, 1)
        for x, y in SMALL_ORDER
        if x == 0
    }
    # All numbers from the prime to 2^255: each says a y that has another spelling below.
    beyond = {
        f"y = p + {y}, the highest bit {sign}": raw(PRIME + y, sign)
        for y in range(19)
        for sign in (0, 1)
    }
    return zero | beyond


def small() -> dict[str, bytes]:
    """Return the canonical encodings of the eight points of small order."""
    return {
        f"point {number} of small order: {order(point)}": encode(point)
        for number, point in enumerate(SMALL_ORDER)
    }


def off() -> dict[str, bytes]:
    """Return a canonical number that is the y of no point."""
    return {"a y without a point": next(raw(y, 0) for y in range(2, 100) if not points(y))}


def weak_keys(key: bytes) -> dict[str, bytes]:
    """Return every kind of weak key by name, those with a good part made from `key`."""
    return small() | respelled() | mixed(key) | off()
