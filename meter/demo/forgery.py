"""Two ways to tamper with an exported folder, for verification to find.

The first flips a bit in a file. The second grants a fen more and then makes everything anew, with
the hashes and the log's own signature: an operator with the key could do that.
"""

from pathlib import Path

from ledger import canon
from ledger.folder import FolderReader, FolderWriter
from ledger.note import Checkpoint, Signer, sign
from ledger.tiles import Tile, level_tiles
from ledger.tlog import Frontier, leaf_hash
from meter.demo.books import entries_of, size_of


def flip_bit(folder: Path, number: int) -> None:
    """Flip a bit in the first digit of an entry's cost."""
    tile, index = _tile_of(folder, number)
    entries = FolderReader(folder).entries(tile)
    file = folder / tile.path
    data = bytearray(file.read_bytes())
    length_bytes = 2  # in front of each entry
    start = sum(length_bytes + len(entry) for entry in entries[:index]) + length_bytes
    data[start + entries[index].index(b'"cost":') + len(b'"cost":')] ^= 1
    file.write_bytes(data)


def _tile_of(folder: Path, number: int) -> tuple[Tile, int]:
    """Return the bundle that holds an entry, and the entry's place in it."""
    tiles = level_tiles("entries", size_of(folder))
    tile = next(tile for tile in tiles if number < tile.first + tile.width)
    return tile, number - tile.first


def grant_a_fen_more(folder: Path, out: Path, number: int, signer: Signer) -> None:
    """Write the log anew with a fen more granted in one entry, well hashed and signed.

    Where the coupon expires, a fen less is left of it: so the books still add up.
    """
    writer, frontier = FolderWriter(out), Frontier()
    coupon = ""
    for at, data, files in entries_of(folder, size_of(folder)):
        changed = data
        if at == number:
            coupon, changed = _with_a_fen_more(data)
        elif coupon and b'"kind":"expiry"' in data and coupon.encode() in data:
            changed = _with_a_fen_less(data, coupon)
        writer.add(changed, files)
        frontier.append(leaf_hash(changed))
    checkpoint = Checkpoint(signer.name, frontier.size, frontier.root())
    writer.finish(sign(checkpoint.format(), signer))


def _with_a_fen_more(data: bytes) -> tuple[str, bytes]:
    """Return the coupon that pays, and an entry by which it pays a fen more."""
    entry = canon.decode(data)
    grant = next(posting for posting in entry["postings"] if posting[1].startswith("accrued:"))
    grant[2] += 1
    return grant[0], canon.encode(entry)


def _with_a_fen_less(data: bytes, coupon: str) -> bytes:
    """Return an expiry that takes a fen less from a coupon."""
    entry = canon.decode(data)
    rest = next(posting for posting in entry["postings"] if posting[0] == coupon)
    rest[2] -= 1
    entry["amount"] -= 1
    return canon.encode(entry)
