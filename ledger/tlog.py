"""The Merkle tree of RFC 9162 section 2.1 (and RFC 6962): roots, proofs and their checks.

    leaf      SHA-256(0x00 || entry)
    node      SHA-256(0x01 || left || right)
    root      of no entry SHA-256(""); of one entry its leaf; of n > 1 entries the node of two
              roots, the left over the first k, for the largest power of two k < n

So the root of three entries is node(node(leaf 0, leaf 1), leaf 2). A root or proof shows nothing
about entries whose hashes somebody else computed: hash the entry yourself, then check.

`Frontier` can only grow; `Tree` keeps every node, and has proofs for every size it ever had;
`TiledTree` reads the nodes of a published log when they are needed. All hashes are 32 bytes.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from typing import Final

from ledger.errors import BadProof

HASH_BYTES: Final = 32
_PAIR_BYTES: Final = 2 * HASH_BYTES

# A tile holds 2^8 hashes (C2SP tlog-tiles), so it is a subtree of that height.
TILE_WIDTH: Final = 256
TILE_HEIGHT: Final = 8

EMPTY_ROOT: Final = sha256(b"").digest()


def leaf_hash(data: bytes) -> bytes:
    return sha256(b"\x00" + data).digest()


def node_hash(left: bytes | bytearray, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()


class Frontier:
    """The roots of the perfect subtrees that make up a tree of `size` entries, left to right.

    There is one for each bit of the size, the largest first: 7 entries are subtrees of 4, 2 and 1.
    """

    __slots__ = ("_hashes", "size")

    def __init__(self) -> None:
        self.size = 0
        self._hashes: list[bytes] = []

    def append(self, leaf: bytes) -> None:
        """Add one leaf hash; equal subtrees at the right merge, like carries in a binary sum."""
        node, carry = leaf, self.size
        while carry & 1:
            node = node_hash(self._hashes.pop(), node)
            carry >>= 1
        self._hashes.append(node)
        self.size += 1

    def root(self) -> bytes:
        return _fold(self._hashes)

    def copy(self) -> "Frontier":
        return Frontier.from_bytes(self.size, self.to_bytes())

    def to_bytes(self) -> bytes:
        return b"".join(self._hashes)

    @classmethod
    def from_bytes(cls, size: int, data: bytes) -> "Frontier":
        """Read joined hashes. Raises `BadProof` unless there is one for each bit of `size`."""
        if size < 0 or len(data) != size.bit_count() * HASH_BYTES:
            raise BadProof(f"{len(data)} bytes are not the frontier of {size} entries")
        frontier = cls()
        frontier.size = size
        frontier._hashes = split_hashes(data)
        return frontier

    @classmethod
    def over(cls, hashes: bytes) -> "Frontier":
        """Return the frontier of joined leaf hashes, or of roots of equal perfect subtrees."""
        frontier, row = cls(), hashes
        frontier.size = len(hashes) // HASH_BYTES
        while row:
            if len(row) % _PAIR_BYTES:
                frontier._hashes.insert(0, row[-HASH_BYTES:])
            row = _nodes_over(row)
        return frontier


class Proving(ABC):
    """A tree of `size` entries that makes proofs of its complete nodes; level 0 are the leaves."""

    __slots__ = ("size",)

    size: int

    @abstractmethod
    def _node(self, level: int, index: int) -> bytes:
        """Return a complete node, which has 2^level leaves below it."""

    def root(self, size: int | None = None) -> bytes:
        """Return the root now, or the one when the tree had `size` entries."""
        size = self.size if size is None else self._known(size)
        return self._range_root(0, size)

    def inclusion_proof(self, index: int, size: int) -> list[bytes]:
        """Return the siblings from entry `index` up to the root of `size` (RFC 9162 2.1.3.1)."""
        if not 0 <= index < self._known(size):
            raise BadProof(f"entry {index} is not among the first {size}")
        start, end, proof = 0, size, []
        while end - start > 1:
            middle = start + _left_part(end - start)
            if index < middle:
                proof.append(self._range_root(middle, end))
                end = middle
            else:
                proof.append(self._range_root(start, middle))
                start = middle
        return proof[::-1]

    def consistency_proof(self, old: int, new: int) -> list[bytes]:
        """Return hashes that prove: the tree of `new` begins with the `old` (RFC 9162 2.1.4.1).

        Empty when `old` is 0 or `new`.
        """
        if not 0 <= old <= self._known(new):
            raise BadProof(f"a tree of {new} entries does not begin with {old}")
        start, end, proof = 0, new, []
        while 0 < old < end:
            middle = start + _left_part(end - start)
            if old <= middle:
                proof.append(self._range_root(middle, end))
                end = middle
            else:
                proof.append(self._range_root(start, middle))
                start = middle
        # Without a step to the right, this node is the old root, which the checker has.
        if start > 0:
            proof.append(self._range_root(start, end))
        return proof[::-1]

    def _known(self, size: int) -> int:
        if not 0 <= size <= self.size:
            raise BadProof(f"the tree has {self.size} entries, not {size}")
        return size

    def _range_root(self, start: int, end: int) -> bytes:
        """Return the root over entries `start` to `end`, which fall into complete nodes.

        For `start` is a multiple of the largest power of two in `end - start`, as in each right
        part of a split.
        """
        nodes = []
        while start < end:
            level = (end - start).bit_length() - 1
            nodes.append(self._node(level, start >> level))
            start += 1 << level
        return _fold(nodes)


class Tree(Proving):
    """A tree with all complete nodes: one of level n has 2^n leaves below it."""

    __slots__ = ("_levels",)

    def __init__(self) -> None:
        self.size = 0
        self._levels: list[bytearray] = []

    def append(self, leaf: bytes) -> None:
        """Add one leaf hash, and every node that it completes."""
        self.extend(leaf)

    def extend(self, hashes: bytes) -> None:
        """Add joined leaf hashes, and every node that they complete."""
        self.size += len(hashes) // HASH_BYTES
        nodes, level = hashes, 0
        while nodes:
            if level == len(self._levels):
                self._levels.append(bytearray())
            row = self._levels[level]
            paired = len(row) - len(row) % _PAIR_BYTES
            row += nodes
            nodes = _nodes_over(row[paired:])
            level += 1

    def tile_hashes(self, level: int, index: int, width: int) -> bytes:
        """Return the first `width` hashes of a tile, joined; `level` n holds nodes of level 8n."""
        start = index * TILE_WIDTH
        complete = self.size >> TILE_HEIGHT * level if level >= 0 else 0
        if index < 0 or not 0 < width <= TILE_WIDTH or start + width > complete:
            raise BadProof(f"no tile {level}/{index} of width {width} in {self.size} entries")
        row = self._levels[TILE_HEIGHT * level]
        return bytes(row[start * HASH_BYTES : (start + width) * HASH_BYTES])

    def tile_root(self, level: int, index: int) -> bytes:
        """Return the root over a full tile: its hash in the tile above."""
        return self._node(TILE_HEIGHT * (level + 1), index)

    def leaf_hashes(self) -> bytes:
        """Return all leaf hashes, joined."""
        return bytes(self._levels[0]) if self._levels else b""

    def leaf_digest(self, first: int, end: int) -> bytes:
        """Return the SHA-256 of the joined leaf hashes from an entry until another one."""
        row = memoryview(self._levels[0] if self._levels else b"")
        return sha256(row[first * HASH_BYTES : end * HASH_BYTES]).digest()

    def _node(self, level: int, index: int) -> bytes:
        return bytes(self._levels[level][index * HASH_BYTES : (index + 1) * HASH_BYTES])


class TiledTree(Proving):
    """The tree of a published log; each tile is read once, when a node below it is needed.

    `read_tile` returns the joined hashes of the tile of a level, an index and a width.
    """

    __slots__ = ("_read_tile", "_tiles")

    def __init__(self, size: int, read_tile: Callable[[int, int, int], bytes]) -> None:
        self.size = size
        self._read_tile = read_tile
        self._tiles: dict[tuple[int, int], bytes] = {}

    def _node(self, level: int, index: int) -> bytes:
        tile_level, height = divmod(level, TILE_HEIGHT)
        tile_index, place = divmod(index << height, TILE_WIDTH)
        start, end = (at * HASH_BYTES for at in (place, place + (1 << height)))
        return Frontier.over(self._tile(tile_level, tile_index)[start:end]).root()

    def _tile(self, level: int, index: int) -> bytes:
        if (level, index) not in self._tiles:
            width = min(TILE_WIDTH, (self.size >> TILE_HEIGHT * level) - index * TILE_WIDTH)
            self._tiles[level, index] = self._read_tile(level, index, width)
        return self._tiles[level, index]


def check_inclusion(
    leaf: bytes, index: int, size: int, root: bytes, proof: Sequence[bytes]
) -> None:
    """Raise `BadProof` unless `leaf` is entry `index` in the tree (RFC 9162 2.1.3.2)."""
    if not 0 <= index < size:
        raise BadProof(f"entry {index} is not among the first {size}")
    _check_lengths(leaf, root, *proof)
    node = leaf
    for sibling, is_left in _siblings(index, size - 1, proof):
        node = node_hash(sibling, node) if is_left else node_hash(node, sibling)
    if node != root:
        raise BadProof(f"entry {index} does not lead to the root of {size}")


def check_consistency(
    old_size: int, old_root: bytes, new_size: int, new_root: bytes, proof: Sequence[bytes]
) -> None:
    """Raise `BadProof` unless the new tree begins with the old one (RFC 9162 2.1.4.2)."""
    if not 0 <= old_size <= new_size:
        raise BadProof(f"a tree of {new_size} entries does not begin with {old_size}")
    _check_lengths(old_root, new_root, *proof)
    if old_size in (0, new_size):
        _check_without_hashes(old_size, old_root, new_size, new_root, proof)
        return
    place, last = old_size - 1, new_size - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    # The proof begins with the old tree's last perfect subtree. Where that is the whole old tree
    # (`place` is 0), it is left out, because it is the old root.
    hashes = proof if place else (old_root, *proof)
    if not hashes:
        raise BadProof("the proof is too short")
    first, *others = hashes
    old_node = new_node = first
    for sibling, is_left in _siblings(place, last, others):
        if is_left:
            old_node = node_hash(sibling, old_node)
            new_node = node_hash(sibling, new_node)
        else:
            new_node = node_hash(new_node, sibling)
    if (old_node, new_node) != (old_root, new_root):
        raise BadProof(f"the proof does not lead to the roots of {old_size} and {new_size}")


def split_hashes(data: bytes) -> list[bytes]:
    """Return the single hashes of `data`; a rest shorter than a hash comes last."""
    return [data[at : at + HASH_BYTES] for at in range(0, len(data), HASH_BYTES)]


def _check_without_hashes(
    old_size: int, old_root: bytes, new_size: int, new_root: bytes, proof: Sequence[bytes]
) -> None:
    """Check an empty or an equal old tree: every tree begins with both."""
    if proof:
        raise BadProof("the proof is too long")
    if old_root != (EMPTY_ROOT if old_size == 0 else new_root):
        raise BadProof(f"the roots of {old_size} and {new_size} entries do not fit")
    if new_size == 0 and new_root != EMPTY_ROOT:
        raise BadProof("the root of no entries is another")


def _siblings(place: int, last: int, proof: Sequence[bytes]) -> Iterator[tuple[bytes, bool]]:
    """Yield each hash of a proof and whether it is a left one, on the way up from node `place`.

    `last` is the number of the last node of that level. Raises `BadProof` unless the hashes end
    exactly at the root.
    """
    for sibling in proof:
        if last == 0:
            raise BadProof("the proof is too long")
        is_left = place & 1 == 1 or place == last
        yield sibling, is_left
        # A last node without a sibling moves up as it is, to the level where it has one.
        while is_left and place & 1 == 0 and place > 0:
            place, last = place >> 1, last >> 1
        place, last = place >> 1, last >> 1
    if last > 0:
        raise BadProof("the proof is too short")


def _check_lengths(*hashes: bytes) -> None:
    if any(len(value) != HASH_BYTES for value in hashes):
        raise BadProof(f"a hash has {HASH_BYTES} bytes")


def _nodes_over(row: bytes | bytearray) -> bytes:
    """Return the joined nodes over each two of the joined hashes; an odd last one is left out."""
    ends = range(_PAIR_BYTES, len(row) + 1, _PAIR_BYTES)
    return b"".join([sha256(b"\x01" + row[end - _PAIR_BYTES : end]).digest() for end in ends])


def _left_part(size: int) -> int:
    """Return the largest power of two below `size`, which is at least 2."""
    return 1 << ((size - 1).bit_length() - 1)


def _fold(nodes: list[bytes]) -> bytes:
    """Return the root over perfect subtrees, each smaller than the one to its left."""
    if not nodes:
        return EMPTY_ROOT
    root = nodes[-1]
    for node in reversed(nodes[:-1]):
        root = node_hash(node, root)
    return root
