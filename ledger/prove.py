"""Proof that the entries of a folder are those of the signed root; `verify` uses it.

The hashes of a tile are known from two sides: computed from what is below it, and held in its file.
Where the two differ, one is wrong, and the root decides which, from the top down. The tiles at the
right edge, each from one of its sides, must together give the signed root. Every other tile must
give its hash in the tile above, once that one is known to be right. So one bad byte is traced to
its entry or tile, and an entry that was changed along with its hash is found by the tile above.

With 300 entries, where number 7 was changed:

    tile/1/000.p/1    as held gives the root, together with tile/0/001.p/44; as computed it does not
    tile/0/000        as held gives the one hash of tile/1/000.p/1; as computed it does not
    entry 7           is the first whose computed hash is not the one held: it is at fault
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import chain, islice, product, takewhile
from typing import Final

from ledger.errors import BadBundle, BadFolder, LedgerError, MissingFile
from ledger.folder import DRAFT, FolderReader
from ledger.report import Check, Finding
from ledger.tiles import (
    CHECKPOINT,
    Tile,
    find_tile,
    grown_tile,
    height_of,
    level_tiles,
    root_over,
    tiles_of,
)
from ledger.tlog import EMPTY_ROOT, HASH_BYTES, TILE_WIDTH, Frontier, Tree, leaf_hash, split_hashes

# Nobody reads more than this, and a hostile folder could make millions.
MAX_FINDINGS: Final = 100
MAX_NAMES: Final = 5  # of files that a notice counts


@dataclass(frozen=True, slots=True)
class Proof:
    """The result: the first `count` entries are right; `leaf_hashes` are joined tile by tile.

    Their attachments could be read, and are not proved.
    """

    count: int
    leaf_hashes: list[bytes]
    findings: list[Finding]
    notices: list[Finding]
    checks: list[Check]


@dataclass(frozen=True, slots=True)
class _Sides:
    """The joined hashes of a tile from both sides; `node` is its computed hash in the tile above.

    With a `bundle_fault`, `computed` ends where the bundle breaks, and is not `known`; nor is what
    was computed from it. With a `held_fault`, `held` is empty.
    """

    tile: Tile
    computed: bytes
    held: bytes
    node: bytes
    known: bool
    bundle_fault: LedgerError | None
    held_fault: LedgerError | None


# The right hashes of each tile, or None where neither side fits the tile above. A tile is left out
# where the tile above is not known to be right.
_Truth = dict[Tile, bytes | None]


def prove(
    reader: FolderReader,
    size: int,
    root: bytes,
    read: Tree,
    advance: Callable[[int], None],
) -> Proof:
    """Compare all files with the signed root; `advance` gets `size` and the entries done, added up.

    `read` is the tree of the first entries, as far as they were read already. The others are read
    here.
    """
    try:
        files = reader.files()
    except BadFolder as error:
        return _empty_proof(set(), [Finding(error.code, error.detail)])
    # The signed size may be more than any folder holds. From here on, the files bound the work.
    if size // TILE_WIDTH > len(files):
        return _empty_proof(files, list(islice(_missing_findings(files, size), MAX_FINDINGS)))
    levels = _read_levels(reader, size, read, advance)
    truth = _find_truth(levels, size, root)
    unreadable = _unreadable_attachments(reader, size)
    findings = chain(
        _root_findings(levels, truth, size, root),
        _entry_findings(levels, truth),
        unreadable.values(),
        _tile_findings(levels, truth),
        _outgrown_findings(reader, files, size),
    )
    entries = levels[0] if levels else []
    # Where a bundle of attachments breaks, none of its tile's entries can be judged.
    count = min([_count_right(entries, truth, size), *(tile.first for tile in unreadable)])
    return Proof(
        count=count,
        leaf_hashes=[sides.computed for sides in entries],
        findings=list(islice(findings, MAX_FINDINGS)),
        notices=list(_notices(files, size)),
        checks=[Check("files", len(files)), Check("entries in the signed root", count)],
    )


def _empty_proof(files: set[str], findings: list[Finding]) -> Proof:
    return Proof(0, [], findings, [], [Check("files", len(files))])


def _missing_findings(files: set[str], size: int) -> Iterator[Finding]:
    for tile in tiles_of(size):
        if files.isdisjoint((tile.path, _full(tile).path)):
            yield Finding("missing_file", f"{tile.path} is missing", tile.first, tile.path)


def _read_levels(
    reader: FolderReader, size: int, read: Tree, advance: Callable[[int], None]
) -> list[list[_Sides]]:
    """Return all tiles from both sides, level 0 first."""
    levels: list[list[_Sides]] = []
    for level in range(height_of(size)):
        below = levels[-1] if levels else []
        rows = []
        for tile in level_tiles(level, size):
            first = tile.index * TILE_WIDTH
            rows.append(_read_tile(reader, level, tile, below[first : first + tile.width], read))
            if level == 0:
                advance(size + tile.first + tile.width)
        levels.append(rows)
    return levels


def _read_tile(
    reader: FolderReader, level: int, tile: Tile, below: list[_Sides], read: Tree
) -> _Sides:
    """Return a tile from both sides; `below` are the tiles whose roots it holds, if any."""
    bundle_fault = held_fault = None
    was_read = read.size >= tile.first + tile.width * tile.span
    if was_read:
        computed = read.tile_hashes(level, tile.index, tile.width)
    elif level == 0:
        computed, bundle_fault = _hash_entries(reader, tile.beside("entries"))
    else:
        computed = b"".join(sides.node for sides in below)
    try:
        held = reader.hashes(tile)
    except LedgerError as error:
        held, held_fault = b"", error
    node = b""
    if tile.is_full:
        node = read.tile_root(level, tile.index) if was_read else _root_over(computed)
    return _Sides(
        tile=tile,
        computed=computed,
        # Equal sides, which are the rule, share their memory.
        held=computed if held == computed else held,
        node=node,
        known=was_read or (bundle_fault is None and all(sides.known for sides in below)),
        bundle_fault=bundle_fault,
        held_fault=held_fault,
    )


def _root_over(hashes: bytes) -> bytes:
    return Frontier.over(hashes).root()


def _hash_entries(reader: FolderReader, tile: Tile) -> tuple[bytes, LedgerError | None]:
    """Return the leaf hashes up to where the bundle breaks, and the error if it does."""
    hashes: list[bytes] = []
    try:
        hashes.extend(map(leaf_hash, reader.iter_entries(tile)))
    except LedgerError as error:
        return b"".join(hashes), error
    return b"".join(hashes), None


def _find_truth(levels: list[list[_Sides]], size: int, root: bytes) -> _Truth:
    """Return the right hashes by tile; empty if nothing gives the root."""
    edges = [rows[-1] for rows in levels if not rows[-1].tile.is_full]
    truth = _signed_edges(edges, size, root)
    for level in reversed(range(len(levels) - 1)):
        for sides in filter(lambda sides: sides.tile.is_full, levels[level]):
            parent, place = divmod(sides.tile.index, TILE_WIDTH)
            above = truth.get(levels[level + 1][parent].tile)
            if above is not None:
                node = above[place * HASH_BYTES : (place + 1) * HASH_BYTES]
                truth[sides.tile] = _side_under(node, sides)
    return truth


def _signed_edges(edges: list[_Sides], size: int, root: bytes) -> _Truth:
    """Return the partial tiles, each from the side with which all give the signed root."""
    for choice in product(*map(_whole_sides, edges)):
        if root_over(size, reversed(choice)) == root:
            return {sides.tile: hashes for sides, hashes in zip(edges, choice, strict=True)}
    return {}


def _side_under(node: bytes, sides: _Sides) -> bytes | None:
    """Return the side of a full tile that gives this hash in the tile above."""
    whole = _whole_sides(sides)
    if sides.node == node and sides.computed in whole:
        return sides.computed
    if sides.held in whole and _root_over(sides.held) == node:
        return sides.held
    return None


def _whole_sides(sides: _Sides) -> list[bytes]:
    distinct = dict.fromkeys((sides.computed, sides.held) if sides.known else (sides.held,))
    return [hashes for hashes in distinct if len(hashes) == sides.tile.width * HASH_BYTES]


def _count_right(entries: list[_Sides], truth: _Truth, size: int) -> int:
    """Return how many entries are right, from the first on."""
    for sides in entries:
        right = truth.get(sides.tile)
        if sides.bundle_fault or sides.computed != right:
            return sides.tile.first + (_count_same(sides.computed, right) if right else 0)
    return size


def _count_same(hashes: bytes, others: bytes) -> int:
    """Return how many hashes the two have in common, from the first on."""
    pairs = zip(split_hashes(hashes), split_hashes(others), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _root_findings(
    levels: list[list[_Sides]], truth: _Truth, size: int, root: bytes
) -> Iterator[Finding]:
    # Where an edge can be read from neither side, nobody knows what the whole would give.
    readable = all(rows[-1].tile.is_full or _whole_sides(rows[-1]) for rows in levels)
    if size > 0 and not truth and readable:
        detail = "neither the entries nor the tiles give the signed root"
        yield Finding("bad_root", detail, file=CHECKPOINT)
    if size == 0 and root != EMPTY_ROOT:
        yield Finding("bad_root", "the root of no entries is another", file=CHECKPOINT)


def _entry_findings(levels: list[list[_Sides]], truth: _Truth) -> Iterator[Finding]:
    """Yield the first wrong entry of each tile."""
    for sides in levels[0] if levels else []:
        tile, path = sides.tile, sides.tile.beside("entries").path
        right = truth.get(tile) or sides.held or sides.computed
        same = _count_same(sides.computed, right)
        entry = tile.first + min(same, tile.width - 1)
        differs = same < min(len(sides.computed), len(right)) // HASH_BYTES
        if sides.bundle_fault and not differs:
            yield Finding(sides.bundle_fault.code, sides.bundle_fault.detail, entry, path)
        elif same < tile.width:
            detail = f"its tile holds another entry {entry}"
            if truth.get(tile):
                detail = f"the signed root holds another entry {entry}"
            yield Finding("bad_entry", detail, entry, path)
        elif truth.get(tile, right) is None:
            detail = f"the signed root holds others than these {tile.width} entries"
            yield Finding("bad_entry", detail, tile.first, path)


def _tile_findings(levels: list[list[_Sides]], truth: _Truth) -> Iterator[Finding]:
    """Yield the first wrong hash of each tile's file, with the first entry below it."""
    for sides in chain.from_iterable(levels):
        tile, right = sides.tile, truth.get(sides.tile)
        if sides.held_fault:
            yield Finding(sides.held_fault.code, sides.held_fault.detail, tile.first, tile.path)
        elif right is not None and sides.held != right:
            place = _count_same(sides.held, right)
            detail = f"its hash {place} is not that of the signed root"
            yield Finding("bad_tile", detail, tile.first + place * tile.span, tile.path)
        elif tile.level != 0 and tile in truth and right is None:
            detail = "neither it nor what is below it fits the tile above"
            yield Finding("bad_tile", detail, tile.first, tile.path)


def _unreadable_attachments(reader: FolderReader, size: int) -> dict[Tile, Finding]:
    """Return the bundles of attachments that break, in order."""
    findings = {}
    for tile in level_tiles("batches", size):
        try:
            for _ in reader.iter_attachments(tile):
                pass
        except MissingFile:  # no entry of the tile has attachments
            continue
        except LedgerError as error:
            place = error.entry if isinstance(error, BadBundle) else 0
            entry = tile.first + min(place, tile.width - 1)
            findings[tile] = Finding(error.code, error.detail, entry, tile.path)
    return findings


def _outgrown_findings(reader: FolderReader, files: set[str], size: int) -> Iterator[Finding]:
    """Yield a finding for each partial tile of an older checkpoint that does not begin today's."""
    for path in sorted(files):
        tile = find_tile(path)
        grown = _held(grown_tile(size, tile), files) if tile else None
        if tile and grown and tile != grown:
            yield from _outgrown_finding(reader, tile, grown)


def _outgrown_finding(reader: FolderReader, tile: Tile, grown: Tile) -> Iterator[Finding]:
    try:
        if not reader.has_grown(tile, grown):
            detail = f"{grown.path} does not begin with it"
            yield Finding("bad_tile", detail, tile.first, tile.path)
    except MissingFile:
        pass  # a writer has removed it meanwhile
    except LedgerError as error:
        yield Finding(error.code, error.detail, tile.first, tile.path)


def _notices(files: set[str], size: int) -> Iterator[Finding]:
    """Yield a notice for each kind of file that was not looked at."""
    newer, foreign = [], []
    for path in sorted(files - {CHECKPOINT}):
        tile = find_tile(path)
        grown = grown_tile(size, tile) if tile else None
        if (tile and not grown) or _is_draft(path):
            newer.append(path)
        elif grown is None or _held(grown, files) is None:
            foreign.append(path)
    if newer:
        detail = f"not looked at, of entries beyond the {size} of the checkpoint: {_names(newer)}"
        yield Finding("newer_files", detail)
    if foreign:
        yield Finding("foreign_files", f"not looked at, of no log: {_names(foreign)}")


def _is_draft(path: str) -> bool:
    """Return whether a writer has not ended this file yet."""
    name = path.removesuffix(DRAFT)
    return name != path and (name == CHECKPOINT or find_tile(name) is not None)


def _names(paths: list[str]) -> str:
    # A stranger chose the names: they may hold control sequences of a terminal.
    names = ", ".join(path if path.isprintable() else ascii(path) for path in paths[:MAX_NAMES])
    more = len(paths) - MAX_NAMES
    return f"{names} and {more} more" if more > 0 else names


def _held(tile: Tile | None, files: set[str]) -> Tile | None:
    """Return the tile or the full one in its place, whichever the folder has."""
    wanted = (tile, _full(tile)) if tile else ()
    return next((each for each in wanted if each.path in files), None)


def _full(tile: Tile) -> Tile:
    return replace(tile, width=TILE_WIDTH)
