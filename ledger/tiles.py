"""The files of a log of a given size, and their paths (C2SP tlog-tiles).

    checkpoint                      the signed size and root
    tile/<L>/<N>[.p/<W>]            hashes: tile N of level L holds nodes 256 N .. of level 8 L
    tile/entries/<N>[.p/<W>]        the entry bundle of the same 256 entries as tile/0/<N>
    batches/<N>[.p/<W>]             ours: the attachment bundle of those entries, if they have any

A tile is full with 256 hashes, and only full tiles are hashed into the level above; the last of a
level may be partial, of width W. N stands in groups of three digits, all but the last with an `x`:
tile 1234067 is `x001/x234/067`. A log of 256 entries has the files

    checkpoint  tile/0/000  tile/1/000.p/1  tile/entries/000

In a log that grows, `tile/0/000.p/5` begins with the bytes of `tile/0/000.p/3`, and so on. Whoever
has read a checkpoint may ask for the tiles of its size, so all widths stay until the tile is full.

Arithmetic only; no file is touched here.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

from ledger.errors import BadFolder
from ledger.tlog import TILE_HEIGHT, TILE_WIDTH, Frontier

CHECKPOINT: Final = "checkpoint"

Level = int | Literal["entries", "batches"]

_LEVELS: Final[dict[str, Level]] = {
    "tile/entries": "entries",
    "batches": "batches",
    **{f"tile/{level}": level for level in range(8)},
}
_PATH: Final = re.compile(
    r"(?P<kind>tile/(?:[0-7]|entries)|batches)"
    r"(?P<index>(?:/x[0-9]{3}){0,6}/[0-9]{3})"
    r"(?:\.p/(?P<width>[0-9]{1,3}))?"
)


@dataclass(frozen=True, slots=True)
class Tile:
    """One file: `index` counts from 0 along its level, `width` is 1 to 256."""

    level: Level
    index: int
    width: int

    @property
    def path(self) -> str:
        return tile_path(self.level, self.index, self.width)

    @property
    def is_full(self) -> bool:
        return self.width == TILE_WIDTH

    def beside(self, level: Level) -> "Tile":
        """Return the tile of another kind over the same entries; for `entries`, 0 and `batches`."""
        return Tile(level, self.index, self.width)

    @property
    def first(self) -> int:
        """The number of the first entry below it."""
        return self.index * TILE_WIDTH * self.span

    @property
    def span(self) -> int:
        """The number of entries below each of its places."""
        return 1 << TILE_HEIGHT * self.level if isinstance(self.level, int) else 1


def tile_path(level: Level, index: int, width: int) -> str:
    """Return the path of a tile, with "/" between parts on every system."""
    folder = level if level == "batches" else f"tile/{level}"
    groups, rest = [f"{index % 1000:03}"], index // 1000
    while rest:
        groups.append(f"x{rest % 1000:03}")
        rest //= 1000
    partial = "" if width == TILE_WIDTH else f".p/{width}"
    return f"{folder}/{'/'.join(reversed(groups))}{partial}"


def parse_tile_path(path: str) -> Tile:
    """Read what `tile_path` returns. Raises `BadFolder` for any other text."""
    if not (match := _PATH.fullmatch(path)):
        raise BadFolder(f"{path!r:.200} is not the path of a tile")
    index = int(match["index"].replace("/", "").replace("x", ""))
    tile = Tile(_LEVELS[match["kind"]], index, int(match["width"] or TILE_WIDTH))
    if not 0 < tile.width <= TILE_WIDTH:
        raise BadFolder(f"{path!r:.200} is of no width that a tile has")
    if tile.path != path:
        raise BadFolder(f"{path!r:.200} is another spelling of {tile.path}")
    return tile


def find_tile(path: str) -> Tile | None:
    """Return the tile of a path, or None for any other text."""
    try:
        return parse_tile_path(path)
    except BadFolder:
        return None


def tiles_of(size: int) -> Iterator[Tile]:
    """Yield every tile that a log of that size must have: entries first, then level by level."""
    yield from level_tiles("entries", size)
    for level in range(height_of(size)):
        yield from level_tiles(level, size)


def level_tiles(level: Level, size: int, old_size: int = 0) -> Iterator[Tile]:
    """Yield the tiles of one level, without those that a log of the old size has.

    Only the last may be partial.
    """
    held, places = _places(level, old_size), _places(level, size)
    full, rest = divmod(places, TILE_WIDTH)
    for index in range(held // TILE_WIDTH, full):
        yield Tile(level, index, TILE_WIDTH)
    if rest and held < places:
        yield Tile(level, full, rest)


def height_of(size: int) -> int:
    """Return the number of levels of hash tiles."""
    return (size.bit_length() - 1) // TILE_HEIGHT + 1 if size else 0


def edge_tile(level: Level, size: int) -> Tile | None:
    """Return the last tile of a level if it is partial, else None."""
    index, width = divmod(_places(level, size), TILE_WIDTH)
    return Tile(level, index, width) if width else None


def has_tile(size: int, tile: Tile) -> bool:
    """Return whether a log of that size has this tile, or for `batches` may have it."""
    return grown_tile(size, tile) == tile


def grown_tile(size: int, tile: Tile) -> Tile | None:
    """Return the tile that a log of that size has in the place of this one: the same, or a wider.

    None for a tile that only a longer log has.
    """
    full, rest = divmod(_places(tile.level, size), TILE_WIDTH)
    width = TILE_WIDTH if tile.index < full else rest if tile.index == full else 0
    return Tile(tile.level, tile.index, width) if 0 < tile.width <= width else None


def root_over(size: int, edges: Iterable[bytes]) -> bytes:
    """Return the root of a log from the joined hashes of its edge tiles, the highest level first.

    Raises `BadProof` where their number does not fit the size.
    """
    # The frontier of a log is that of its highest tile, then that of the next, and so on.
    frontier = b"".join(Frontier.over(hashes).to_bytes() for hashes in edges)
    return Frontier.from_bytes(size, frontier).root()


def _places(level: Level, size: int) -> int:
    return size >> TILE_HEIGHT * level if isinstance(level, int) else size
