"""What is wrong in a folder is found whatever else is wrong in it, and laid to the right place."""

import pytest

from ledger import verify as verify_module
from ledger.errors import Violation
from ledger.folder import FolderReader
from tests.ledger.exported import LOG, Hashes, Refusing, entry_of, exported


def findings(folder, replay):
    """Return what was found: its code, entry and file."""
    report = verify_module.verify(folder, LOG.verifier, replay)
    return [(each.code, each.entry, each.file) for each in report.findings]


def flip(path, place=0):
    data = bytearray(path.read_bytes())
    data[place] ^= 0xFF
    path.write_bytes(data)


@pytest.mark.parametrize("name", ["tile/0/000", "tile/0/002.p/88", "tile/1/000.p/2"])
def test_damage_is_found_behind_an_entry_that_breaks_a_rule(tmp_path, name):
    folder = exported(tmp_path / "out", 600)
    flip(folder / name)
    damage = findings(folder, Hashes())
    assert [(code, file) for code, _, file in damage] == [("bad_tile", name)]
    assert findings(folder, Refusing(3)) == [*damage, ("refused", 3, None)]


@pytest.mark.parametrize("refused", [3, 300, 599])
def test_an_entry_that_was_changed_is_found_behind_one_that_breaks_a_rule(tmp_path, refused):
    """All that is before the change is replayed, and what breaks a rule after it says nothing."""
    changed = {500: entry_of(500, by="mallory")}
    folder = exported(tmp_path / "out", 600, changed)
    for path in exported(tmp_path / "honest", 600).rglob("*"):
        name = path.relative_to(tmp_path / "honest")
        if path.is_file() and not name.match("tile/entries/*"):
            (folder / name).write_bytes(path.read_bytes())
    found = findings(folder, Refusing(refused))
    assert found[0] == ("bad_entry", 500, "tile/entries/001")
    assert found[1:] == ([("refused", refused, None)] if refused < 500 else [])


@pytest.mark.parametrize(
    ("name", "code", "entry"),
    [
        ("tile/entries/000.p/12", "bad_bundle", 11),
        ("tile/0/000.p/12", "bad_folder", 0),
        ("batches/000.p/12", "incomplete_file", 9),
    ],
)
def test_a_byte_too_many_is_laid_to_its_file_and_all_before_it_is_judged(
    tmp_path, name, code, entry
):
    folder = exported(tmp_path / "out", 12)
    (folder / name).write_bytes((folder / name).read_bytes() + b"\0")
    replay = Hashes()
    assert findings(folder, replay) == [(code, entry, name)]
    assert replay.numbers == list(range(entry or 12))


def test_a_violation_is_laid_to_the_entry_that_the_replay_names(tmp_path):
    class Late(Hashes):
        def entry(self, number, *_):
            if number == 7:
                raise Violation("unexplained", "entry 2 is not explained", 2)

    assert findings(exported(tmp_path / "out", 12), Late()) == [("unexplained", 2, None)]


def test_an_edge_that_is_wrong_is_told_though_tiles_below_it_cannot_be_read(tmp_path):
    folder = exported(tmp_path / "out", 256)
    cut = ["tile/entries/000", "tile/0/000"]
    for name in cut:
        (folder / name).write_bytes((folder / name).read_bytes()[:-1])
    missing = [("incomplete_file", 255, cut[0]), ("incomplete_file", 0, cut[1])]
    assert findings(folder, Hashes()) == missing
    flip(folder / "tile/1/000.p/1")
    assert findings(folder, Hashes()) == [("bad_root", None, "checkpoint"), *missing]


def test_an_edge_that_is_wrong_is_told_where_almost_nothing_else_is_there(tmp_path):
    folder = exported(tmp_path / "out", 512)
    for name in FolderReader(folder).files() - {"checkpoint", "tile/1/000.p/2"}:
        (folder / name).unlink()
    missing = [
        ("missing_file", first, f"tile/{level}/{first // 256:03}")
        for level in ("entries", "0")
        for first in (0, 256)
    ]
    assert findings(folder, Hashes()) == missing
    flip(folder / "tile/1/000.p/2")
    assert findings(folder, Hashes()) == [("bad_root", None, "checkpoint"), *missing]
