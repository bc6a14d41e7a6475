"""The headers of what our log serves in formats of C2SP, each compared as a whole.

Clients of others compare values, not media types: a parameter more or less is another value.
"""

from ledger.tiles import tiles_of
from tests.books import record
from tests.services import HOUR, serving

CHECKPOINT = {"Content-Type": "text/plain; charset=utf-8", "Cache-Control": "no-cache"}
TILE = {
    "Content-Type": "application/octet-stream",
    "Cache-Control": "public, max-age=31536000, immutable",
}
BUNDLE = TILE | {"Cache-Control": "private, max-age=31536000, immutable"}
PROOF = {"Content-Type": "text/plain; charset=utf-8", "Cache-Control": "no-cache"}


async def test_every_header_of_a_c2sp_answer_is_exact(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await service.open_books()
        await service.usage([record("r", "A", *HOUR, 1_000)])
        size = await service.published()
        expected = {"/log/checkpoint": CHECKPOINT, f"/v1/entries/{size - 1}/proof": PROOF}
        for tile in tiles_of(size):
            expected[f"/log/{tile.path}"] = BUNDLE if tile.level == "entries" else TILE
        assert len(expected) == 4
        for path, headers in expected.items():
            answer = await service.get(path)
            assert answer.status == 200, path
            found = {name: answer.headers.getall(name, []) for name in headers}
            assert found == {name: [value] for name, value in headers.items()}, path
            assert "Content-Encoding" not in answer.headers, path
