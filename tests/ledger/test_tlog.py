import random
from functools import cache
from hashlib import sha256

import pytest
from pymerkle import InmemoryTree

from ledger.errors import BadProof
from ledger.tlog import (
    EMPTY_ROOT,
    Frontier,
    TiledTree,
    Tree,
    check_consistency,
    check_inclusion,
    leaf_hash,
    node_hash,
)

SIZES = range(65)
# Below this size every bit is flipped, from here on one bit of each hash.
EVERY_BIT_TO = 16


def leaves(size):
    return [leaf_hash(f"entry {number}".encode()) for number in range(size)]


@cache
def tree(size=64):
    tree = Tree()
    for leaf in leaves(size):
        tree.append(leaf)
    return tree


def root_by_definition(hashes):
    """RFC 9162 2.1.1, word for word."""
    if len(hashes) < 2:
        return hashes[0] if hashes else EMPTY_ROOT
    k = 1
    while k * 2 < len(hashes):
        k *= 2
    return node_hash(root_by_definition(hashes[:k]), root_by_definition(hashes[k:]))


def flips(value, size):
    bits = range(256) if size <= EVERY_BIT_TO else [random.randrange(256)]
    for bit in bits:
        yield (int.from_bytes(value, "big") ^ (1 << bit)).to_bytes(32, "big")


def fails(check, *args):
    try:
        check(*args)
    except BadProof:
        return True
    return False


def test_every_root_to_64_is_that_of_the_definition_and_of_another_implementation():
    other = InmemoryTree(algorithm="sha256")
    frontier = Frontier()
    for size in SIZES:
        root = tree().root(size)
        assert root == root_by_definition(leaves(size)) == frontier.root() == tree(size).root()
        assert size == 0 or root == other.get_root()
        frontier.append(leaf_hash(f"entry {size}".encode()))
        other.append_entry(f"entry {size}".encode())


def test_every_inclusion_proof_to_64_holds_and_with_a_bit_flipped_fails():
    for size in SIZES:
        root = tree().root(size)
        for index, leaf in enumerate(leaves(size)):
            proof = tree().inclusion_proof(index, size)
            check_inclusion(leaf, index, size, root, proof)
            for bad in flips(leaf, size):
                assert fails(check_inclusion, bad, index, size, root, proof)
            for bad in flips(root, size):
                assert fails(check_inclusion, leaf, index, size, bad, proof)
            for place, node in enumerate(proof):
                for bad in flips(node, size):
                    changed = [*proof[:place], bad, *proof[place + 1 :]]
                    assert fails(check_inclusion, leaf, index, size, root, changed)


def test_every_consistency_proof_to_64_holds_and_with_a_bit_flipped_fails():
    for new in SIZES:
        new_root = tree().root(new)
        for old in range(new + 1):
            old_root = tree().root(old)
            proof = tree().consistency_proof(old, new)
            check_consistency(old, old_root, new, new_root, proof)
            for bad in flips(old_root, new):
                assert fails(check_consistency, old, bad, new, new_root, proof)
            # The empty tree is the beginning of every tree, whatever its root.
            for bad in flips(new_root, new) if old else ():
                assert fails(check_consistency, old, old_root, new, bad, proof)
            for place, node in enumerate(proof):
                for bad in flips(node, new):
                    changed = [*proof[:place], bad, *proof[place + 1 :]]
                    assert fails(check_consistency, old, old_root, new, new_root, changed)


def test_proofs_that_are_shorter_longer_or_for_another_place_fail():
    for size in range(1, 33):
        root = tree().root(size)
        for index, leaf in enumerate(leaves(size)):
            proof = tree().inclusion_proof(index, size)
            assert fails(check_inclusion, leaf, index, size, root, [*proof, root])
            assert fails(check_inclusion, leaf, index, size, root, [root, *proof])
            for other in range(size):
                assert other == index or fails(check_inclusion, leaf, other, size, root, proof)
            for count in range(len(proof)):
                assert fails(check_inclusion, leaf, index, size, root, proof[:count])
        for old in range(size + 1):
            proof = tree().consistency_proof(old, size)
            old_root = tree().root(old)
            assert fails(check_consistency, old, old_root, size, root, [*proof, root])
            for count in range(len(proof)):
                assert fails(check_consistency, old, old_root, size, root, proof[:count])


@pytest.mark.parametrize(
    ("check", "args"),
    [
        (check_inclusion, (bytes(32), 0, 0, bytes(32), [])),
        (check_inclusion, (bytes(32), -1, 1, bytes(32), [])),
        (check_inclusion, (bytes(32), 1, 1, bytes(32), [])),
        (check_inclusion, (bytes(31), 0, 1, bytes(31), [])),
        (check_inclusion, (bytes(32), 0, 2, bytes(32), [b""])),
        (check_inclusion, (bytes(32), 0, 2**4000, bytes(32), [bytes(32)] * 63)),
        (check_consistency, (-1, bytes(32), 1, bytes(32), [])),
        (check_consistency, (2, bytes(32), 1, bytes(32), [])),
        (check_consistency, (0, bytes(32), 0, bytes(32), [])),
        (check_consistency, (1, bytes(32), 2, bytes(32), [])),
        (check_consistency, (3, bytes(32), 4, bytes(32), [])),
        (check_consistency, (3, bytes(32), 4, bytes(32), [bytes(33)])),
        (check_consistency, (3, bytes(32), 2**4000, bytes(32), [bytes(32)] * 63)),
    ],
)
def test_numbers_and_hashes_that_cannot_be_are_bad_proofs(check, args):
    assert fails(check, *args)


def test_hashes_of_other_lengths_prove_nothing_though_their_bytes_would_give_the_root():
    left, right = leaves(2)
    root = node_hash(left, right)
    together = left + right
    for cut in (31, 33):
        first, second = together[:cut], together[cut:]
        assert node_hash(first, second) == root
        with pytest.raises(BadProof, match="a hash has 32 bytes"):
            check_inclusion(first, 0, 2, root, [second])
        with pytest.raises(BadProof, match="a hash has 32 bytes"):
            check_inclusion(second, 1, 2, root, [first])
        with pytest.raises(BadProof, match="a hash has 32 bytes"):
            check_consistency(1, first, 2, root, [second])


def test_a_tree_of_no_entries_has_one_root_the_hash_of_nothing():
    nothing = bytes.fromhex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
    assert nothing == EMPTY_ROOT == Tree().root() == Frontier().root() == tree().root(0)
    check_consistency(0, nothing, 0, nothing, [])
    other = leaf_hash(b"")
    for roots in ((other, nothing), (nothing, other), (other, other)):
        assert fails(check_consistency, 0, roots[0], 0, roots[1], [])
    check_consistency(0, nothing, 1, other, [])
    assert fails(check_consistency, 0, other, 1, other, [])


def test_a_tree_proves_nothing_about_entries_it_does_not_have():
    for call in (
        lambda: tree().root(65),
        lambda: tree().root(-1),
        lambda: tree().inclusion_proof(64, 64),
        lambda: tree().inclusion_proof(0, 0),
        lambda: tree().inclusion_proof(-1, 2),
        lambda: tree().inclusion_proof(0, 65),
        lambda: tree().consistency_proof(3, 2),
        lambda: tree().consistency_proof(-1, 2),
        lambda: tree().consistency_proof(0, 65),
        lambda: tree().tile_hashes(0, 0, 65),
        lambda: tree().tile_hashes(0, 1, 1),
        lambda: tree().tile_hashes(1, 0, 1),
        lambda: tree().tile_hashes(9, 0, 1),
        lambda: tree().tile_hashes(-1, 0, 1),
        lambda: tree().tile_hashes(0, -1, 1),
        lambda: tree().tile_hashes(0, 0, 0),
        lambda: tree().tile_hashes(0, 0, 257),
    ):
        with pytest.raises(BadProof):
            call()


def test_a_tile_of_level_1_holds_the_roots_of_full_tiles_below():
    big = tree(600)
    assert big.tile_hashes(0, 2, 88) == b"".join(leaves(600)[512:])
    assert big.tile_hashes(1, 0, 2) == b"".join(
        root_by_definition(leaves(600)[start : start + 256]) for start in (0, 256)
    )


def test_a_tree_has_the_hashes_of_its_leaves_and_the_root_of_each_full_tile():
    assert Tree().leaf_hashes() == b""
    assert tree(3).leaf_hashes() == b"".join(leaves(3))
    assert tree(5).leaf_digest(1, 4) == sha256(b"".join(leaves(5)[1:4])).digest()
    assert Tree().leaf_digest(0, 0) == sha256(b"").digest()
    big = tree(70_000)
    assert big.tile_root(0, 1) == root_by_definition(leaves(512)[256:])
    assert big.tile_root(1, 0) == big.root(65_536)


def test_a_tree_of_tiles_gives_the_proofs_of_the_whole_one_and_reads_few_tiles():
    read = []

    def read_tile(level, index, width):
        read.append((level, index, width))
        return whole.tile_hashes(level, index, width)

    for size in (1, 2, 255, 256, 257, 600, 70_000):
        whole = tree(size)
        for index in {0, size // 3, size - 1}:
            del read[:]
            tiled = TiledTree(size, read_tile)
            assert tiled.inclusion_proof(index, size) == whole.inclusion_proof(index, size)
            assert len(read) == len(set(read)) <= 6
        for old in {1, size // 2, size - 1, size}:
            tiled = TiledTree(size, read_tile)
            assert tiled.consistency_proof(old, size) == whole.consistency_proof(old, size)
            assert tiled.root(old) == whole.root(old)


def test_a_frontier_is_read_back_and_a_copy_grows_alone():
    for size in SIZES:
        frontier = Frontier.over(b"".join(leaves(size)))
        again = Frontier.from_bytes(size, frontier.to_bytes())
        copy = frontier.copy()
        copy.append(bytes(32))
        assert (again.size, again.root()) == (frontier.size, frontier.root())
        assert (copy.size, frontier.root()) == (size + 1, tree().root(size))


@pytest.mark.parametrize(("size", "length"), [(0, 32), (1, 0), (3, 32), (3, 65), (-1, 32)])
def test_a_frontier_has_one_hash_for_each_bit_of_its_size(size, length):
    with pytest.raises(BadProof):
        Frontier.from_bytes(size, bytes(length))
