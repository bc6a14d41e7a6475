import os
import random
import re
import shutil
from functools import partial

import pytest

from ledger import canon
from ledger import verify as verify_module
from ledger.bundle import encode_bundle
from ledger.errors import CannotCheck, NoCheckpoint, OtherKey, Violation
from ledger.folder import FolderReader
from ledger.note import Checkpoint, Signer, open_checkpoint, sign
from ledger.prove import MAX_FINDINGS
from ledger.report import Check, Finding
from ledger.tiles import level_tiles, tile_path
from ledger.tlog import EMPTY_ROOT, Frontier, leaf_hash
from ledger.verify import verify as verify_with
from tests.ledger.exported import (
    LOG,
    ORIGIN,
    Hashes,
    Refusing,
    checkpoint_of,
    entry_of,
    exported,
    fields_of,
    files_of,
)

# Shorter than a run of the whole.
verify = partial(verify_with, verifier=LOG.verifier)

SIZES = [0, 1, 2, 255, 256, 257, 513]


def verdict(folder):
    return verify(folder, replay=Hashes())


def first_problem(folder):
    """Its code, entry and file; the folder must have one."""
    try:
        problem = verdict(folder).findings[0]
    except (NoCheckpoint, OtherKey) as error:
        return error.code, None, "checkpoint"
    return problem.code, problem.entry, problem.file


def noticed(folder):
    """The notices of a folder that is good all the same."""
    report = verdict(folder)
    assert report.ok, report.findings
    return [(notice.code, notice.detail) for notice in report.notices]


def flip(path, place, mask=0xFF):
    data = bytearray(path.read_bytes())
    data[place] ^= mask
    path.write_bytes(data)


def replace_entries(folder, size, changed):
    """Change entries in their bundles, and nothing else."""
    for tile in level_tiles("entries", size):
        numbers = range(tile.first, tile.first + tile.width)
        entries = [changed.get(number, entry_of(number)) for number in numbers]
        (folder / tile.path).write_bytes(encode_bundle(entries))


def entry_at(place, size):
    """Return the entry of a byte of the only bundle of entries."""
    end = 0
    for number in range(size):
        end += 2 + len(entry_of(number))
        if place < end:
            return number
    raise AssertionError(place)


@pytest.mark.parametrize("size", SIZES)
def test_an_honest_folder_is_good(tmp_path, size):
    replay, steps = Hashes(), []
    report = verify(
        exported(tmp_path / "out", size), replay=replay, progress=lambda *step: steps.append(step)
    )
    assert report.ok, report.findings
    assert (report.origin, report.size) == (ORIGIN, size)
    assert replay.numbers == list(range(size))
    assert replay.finished
    assert {check.name: check.count for check in report.checks} == {
        "checkpoint signature": 1,
        "files": len([*(tmp_path / "out").rglob("*.p/*"), *(tmp_path / "out").rglob("*00[0-9]")])
        + 1
        if size
        else 1,
        "entries in the signed root": size,
        "entries replayed": size,
        "postings": size,
    }
    assert steps == sorted(steps)
    assert size == 0 or steps[-1] == (2 * size, 2 * size)


def test_every_byte_of_a_small_export_counts(tmp_path):
    size = 12
    honest = exported(tmp_path / "honest", size)
    shutil.copytree(honest, tmp_path / "out")
    for path in sorted(path for path in honest.rglob("*") if path.is_file()):
        name = path.relative_to(honest).as_posix()
        data = path.read_bytes()
        for place in range(len(data)):
            flip(tmp_path / "out" / name, place)
            code, entry, file = first_problem(tmp_path / "out")
            if name == "checkpoint":
                assert code in ("bad_note", "no_checkpoint", "other_key")
            elif "entries" in name:
                assert code in ("bad_entry", "bad_bundle", "incomplete_file"), name
                assert (entry, file) == (entry_at(place, size), name)
            elif "batches" not in name:
                assert (code, entry, file) == ("bad_tile", place // 32, name)
            (tmp_path / "out" / name).write_bytes(data)
    assert verdict(tmp_path / "out").ok


def test_a_changed_attachment_is_laid_to_its_entry(tmp_path):
    folder = exported(tmp_path / "out", 30)
    path = folder / "batches/000.p/30"
    place = path.read_bytes().index(b"file 1 of 9")
    flip(path, place)
    assert first_problem(folder) == ("bad_files", 9, None)


@pytest.mark.parametrize("seed", range(4))
def test_a_random_byte_of_any_file_of_a_larger_export_counts(tmp_path, seed):
    choose = random.Random(seed)
    honest = exported(tmp_path / "honest", 300)
    shutil.copytree(honest, tmp_path / "out")
    for path in sorted(path for path in honest.rglob("*") if path.is_file()):
        name = path.relative_to(honest).as_posix()
        data = path.read_bytes()
        place = choose.randrange(len(data))
        flip(tmp_path / "out" / name, place, 1 << choose.randrange(8))
        code, entry, file = first_problem(tmp_path / "out")
        if name.startswith("tile"):
            assert file == name
        if name == "tile/0/000":
            assert (code, entry) == ("bad_tile", place // 32)
        if name == "tile/0/001.p/44":
            assert (code, entry) == ("bad_tile", 256 + place // 32)
        if name == "tile/entries/000":
            assert entry == entry_at(place, 256)
        (tmp_path / "out" / name).write_bytes(data)


def test_entries_before_a_bad_one_are_replayed_all_the_same(tmp_path):
    folder = exported(tmp_path / "out", 300)
    replace_entries(folder, 300, {7: entry_of(7, by="mallory")})
    replay = Hashes()
    report = verify(folder, replay=replay)
    assert [(p.code, p.entry, p.file) for p in report.findings] == [
        ("bad_entry", 7, "tile/entries/000")
    ]
    assert replay.numbers[:7] == list(range(7))
    assert {check.name: check.count for check in report.checks}["entries replayed"] == 7


def test_what_a_replay_finds_counts_only_before_the_first_entry_that_was_not_signed(tmp_path):
    class Late(Hashes):
        def finish(self):
            raise Violation("unexplained", "something is missing", 3)

    wrong = entry_of(9, files=["a"])
    for number, codes in ((7, ["bad_entry"]), (20, ["bad_entry", "bad_files"])):
        folder = exported(tmp_path / f"{number}", 300, {9: wrong})
        replace_entries(folder, 300, {9: wrong, number: entry_of(number, by="mallory")})
        report = verify(folder, replay=Late())
        assert [problem.code for problem in report.findings] == codes
    folder = exported(tmp_path / "whole", 300)
    replace_entries(folder, 300, {7: entry_of(7, by="mallory")})
    assert [problem.code for problem in verify(folder, replay=Late()).findings] == ["bad_entry"]


def test_an_entry_changed_with_its_hash_is_found_in_the_tile_above(tmp_path):
    folder = exported(tmp_path / "out", 600)
    bad = entry_of(300, by="mallory")
    replace_entries(folder, 600, {300: bad})
    hashes = bytearray((folder / "tile/0/001").read_bytes())
    hashes[44 * 32 : 45 * 32] = leaf_hash(bad)
    (folder / "tile/0/001").write_bytes(hashes)
    assert first_problem(folder) == ("bad_entry", 256, "tile/entries/001")


def test_an_entry_changed_with_all_tiles_does_not_give_the_signed_root(tmp_path):
    folder = exported(tmp_path / "out", 600, {300: entry_of(300, by="mallory")})
    exported(tmp_path / "honest", 600)
    shutil.copy(tmp_path / "honest/checkpoint", folder / "checkpoint")
    assert first_problem(folder) == ("bad_root", None, "checkpoint")


def test_an_entry_and_a_tile_that_are_both_bad_are_both_named(tmp_path):
    folder = exported(tmp_path / "out", 300)
    replace_entries(folder, 300, {7: entry_of(7, by="mallory")})
    flip(folder / "tile/0/001.p/44", 32)
    assert [(p.code, p.entry) for p in verdict(folder).findings] == [
        ("bad_entry", 7),
        ("bad_tile", 257),
    ]


def test_a_bad_entry_is_named_though_no_tile_can_say_who_is_right(tmp_path):
    folder = exported(tmp_path / "out", 30)
    replace_entries(folder, 30, {7: entry_of(7, by="mallory")})
    flip(folder / "tile/0/000.p/30", 20 * 32)
    assert [(p.code, p.entry) for p in verdict(folder).findings] == [
        ("bad_root", None),
        ("bad_entry", 7),
    ]


def test_every_missing_file_is_named(tmp_path):
    honest = exported(tmp_path / "honest", 300)
    for path in sorted(path for path in honest.rglob("*") if path.is_file()):
        name = path.relative_to(honest).as_posix()
        out = tmp_path / "out"
        shutil.copytree(honest, out)
        (out / name).unlink()
        if name == "checkpoint":
            with pytest.raises(CannotCheck):
                verdict(out)
        elif name.startswith("batches"):
            first_with_files = 0 if name == "batches/000" else 258
            assert first_problem(out) == ("missing_attachment", first_with_files, None)
        else:
            code, _, file = first_problem(out)
            assert (code, file) == ("missing_file", name)
        shutil.rmtree(out)


@pytest.mark.parametrize(
    "name",
    [
        "tile/0/001",
        "tile/0/001.p/45",
        "tile/0/002",
        "tile/2/000.p/1",
        "tile/entries/001.p/45",
        "batches/002.p/1",
        "checkpoint.tmp",
        "tile/0/.hidden",
        "notes.txt",
    ],
)
def test_a_file_that_the_size_does_not_call_for_is_a_notice(tmp_path, name):
    folder = exported(tmp_path / "out", 300)
    (folder / name).parent.mkdir(exist_ok=True, parents=True)
    (folder / name).write_bytes(b"x")
    is_foreign = name in ("tile/0/.hidden", "notes.txt")
    told = "of no log" if is_foreign else "of entries beyond the 300 of the checkpoint"
    code = "foreign_files" if is_foreign else "newer_files"
    assert noticed(folder) == [(code, f"not looked at, {told}: {name}")]


def grown(tmp_path, *sizes):
    """Return an export of the last size with the partial tiles of those before, and their paths."""
    *before, size = sizes
    folder, old = exported(tmp_path / "out", size), []
    for each in before:
        older = exported(tmp_path / str(each), each)
        for path in sorted(older.glob("**/*.p/*")):
            old.append(path.relative_to(older).as_posix())
            (folder / old[-1]).parent.mkdir(exist_ok=True)
            shutil.copy(path, folder / old[-1])
    return folder, old


def test_partial_tiles_of_older_checkpoints_may_stay(tmp_path):
    folder, old = grown(tmp_path, 30, 259, 260, 300)
    assert len(old) == 3 + 2 * 4
    assert verdict(folder).ok


def test_a_partial_tile_of_an_older_checkpoint_may_not_say_anything_else(tmp_path):
    folder, old = grown(tmp_path, 30, 259, 300)
    for name in old:
        data = (folder / name).read_bytes()
        changed = [b"", b"x", data[:-1], data + b"\0", data[:-1] + bytes([data[-1] ^ 1])]
        for damage in changed:
            (folder / name).write_bytes(damage)
            problem, *others = verdict(folder).findings
            assert problem.code in ("bad_tile", "incomplete_file", "bad_folder", "bad_bundle")
            assert (problem.file, others) == (name, [])
        (folder / name).write_bytes(data)
    assert verdict(folder).ok


@pytest.mark.parametrize("level", ["tile/0", "tile/entries", "batches"])
@pytest.mark.parametrize("width", [27, 33])
def test_an_older_tile_with_the_bytes_of_another_width_is_named(tmp_path, level, width):
    folder, _ = grown(tmp_path, width, 300)
    (folder / f"{level}/000.p/{width}").rename(folder / f"{level}/000.p/30")
    assert [problem.file for problem in verdict(folder).findings] == [f"{level}/000.p/30"]


def test_an_older_tile_does_not_stand_in_for_the_one_that_grew_from_it(tmp_path):
    folder, _ = grown(tmp_path, 259, 300)
    for name in ("tile/0/001.p", "tile/entries/001.p", "batches/001.p"):
        (folder / name / "44").rename(tmp_path / "away")
        report = verdict(folder)
        assert {problem.code for problem in report.findings} <= {
            "missing_file",
            "missing_attachment",
        }
        assert [n.detail for n in report.notices] == [f"not looked at, of no log: {name}/3"]
        (tmp_path / "away").rename(folder / name / "44")
    assert verdict(folder).ok


def test_the_name_of_an_extra_file_can_be_shown(tmp_path):
    folder = exported(tmp_path / "out", 3)
    (folder / "\x1b[2J").touch()
    with open(os.fsencode(folder) + b"/\xff", "wb"):  # noqa: PTH123 (a name that is no text)
        pass
    assert noticed(folder) == [("foreign_files", r"not looked at, of no log: '\x1b[2J', '\udcff'")]


@pytest.mark.parametrize(("count", "told"), [(4, "3"), (5, "3, 4"), (6, "3, 4 and 1 more")])
def test_five_extra_files_are_named_and_the_others_counted(tmp_path, count, told):
    folder = exported(tmp_path / "out", 3)
    for number in range(count):
        (folder / f"{number}").touch()
    told = f"not looked at, of no log: 0, 1, 2, {told}"
    assert noticed(folder) == [("foreign_files", told)]


def test_a_million_extra_files_are_one_notice(tmp_path):
    folder = exported(tmp_path / "out", 3)
    for number in range(150):
        (folder / f"extra-{number:03}").touch()
    ((code, detail),) = noticed(folder)
    assert code == "foreign_files"
    assert detail.endswith("extra-003, extra-004 and 145 more")


@pytest.mark.parametrize("size", [4, 257, 2**40, 2**63 - 1])
def test_a_signed_size_that_the_folder_does_not_hold_is_found_at_once(tmp_path, size):
    folder = exported(tmp_path / "out", 3)
    text = Checkpoint(ORIGIN, size, bytes(32)).format()
    (folder / "checkpoint").write_bytes(sign(text, LOG))
    report = verdict(folder)
    # Nobody knows whether that is a lie or a copy that was cut short.
    assert {problem.code for problem in report.findings} == {"missing_file"}
    assert len(report.findings) <= MAX_FINDINGS


def test_a_log_without_entries_has_one_root(tmp_path):
    folder = exported(tmp_path / "out", 0)
    assert verdict(folder).root == EMPTY_ROOT
    text = Checkpoint(ORIGIN, 0, bytes(32)).format()
    (folder / "checkpoint").write_bytes(sign(text, LOG))
    assert first_problem(folder) == ("bad_root", None, "checkpoint")


@pytest.mark.parametrize(
    ("changed", "code", "entry"),
    [
        ({0: entry_of(0, kind="move")}, "bad_fields", 0),
        ({0: entry_of(0, origin="kashi.test/other")}, "other_origin", 0),
        ({0: entry_of(0, floors="pool")}, "bad_fields", 0),
        ({0: entry_of(0, floors=["po:ol"])}, "bad_posting", 0),
        ({2: entry_of(0)}, "bad_fields", 2),
        ({2: entry_of(2, v=2)}, "bad_fields", 2),
        ({2: entry_of(2, v=True)}, "bad_fields", 2),
        ({2: entry_of(2, at="now")}, "bad_fields", 2),
        ({2: entry_of(2, by=7)}, "bad_fields", 2),
        ({2: entry_of(2, postings=[["a", "b"]])}, "bad_fields", 2),
        ({2: entry_of(2, postings=[["a", "b", True]])}, "bad_fields", 2),
        ({2: entry_of(2, postings=[["a", "a", 1]])}, "bad_posting", 2),
        ({2: entry_of(2, at=fields_of(0)["at"] - 1)}, "time_went_back", 2),
        ({2: entry_of(2, postings=[["pool:b", "x", 1]])}, "floor_broken", 2),
        ({2: entry_of(2, postings=[["x", "pool:b", 1], ["pool:b", "y", 1]])}, None, None),
        ({2: canon.encode({"v": 1})}, "bad_fields", 2),
        ({2: entry_of(2).replace(b":", b": ", 1)}, "not_canonical", 2),
        ({2: b"\xff"}, "not_canonical", 2),
        ({2: b""}, "not_canonical", 2),
        ({2: entry_of(2, files=["a"])}, "missing_attachment", 2),
        ({3: entry_of(3, files=["a"])}, "bad_files", 3),
        ({2: b"", 3: b"\xff"}, "not_canonical", 2),
    ],
)
def test_a_signed_entry_that_breaks_a_rule_is_named(tmp_path, changed, code, entry):
    findings = verdict(exported(tmp_path / "out", 5, changed)).findings
    assert [(p.code, p.entry) for p in findings] == ([(code, entry)] if code else [])


def test_a_replay_may_lay_a_violation_to_another_entry_or_to_none(tmp_path):
    class Late(Hashes):
        def __init__(self, entry):
            super().__init__()
            self.named = entry

        def finish(self):
            raise Violation("unexplained", "something is missing", self.named)

    folder = exported(tmp_path / "out", 5)
    for named in (None, 3):
        report = verify(folder, replay=Late(named))
        assert [(p.code, p.entry) for p in report.findings] == [("unexplained", named)]


def test_a_fault_in_the_replay_itself_is_not_hidden(tmp_path):
    class Faulty(Hashes):
        def entry(self, *_):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        verify(exported(tmp_path / "out", 5), replay=Faulty())


def test_the_entries_that_were_judged_are_those_proved_though_their_file_changes(tmp_path):
    folder = exported(tmp_path / "out", 300)

    def change(done, total):
        if done == total // 2:  # all are judged
            replace_entries(folder, 300, {280: entry_of(280, by="mallory")})

    assert verify(folder, replay=Hashes(), progress=change).ok
    assert first_problem(folder) == ("bad_entry", 280, "tile/entries/001.p/44")


def test_a_file_that_another_process_read_otherwise_is_found(tmp_path):
    folder = exported(tmp_path / "out", 300)
    checkpoint = open_checkpoint((folder / "checkpoint").read_bytes(), LOG.verifier)
    source = verify_module._Source(FolderReader(folder), checkpoint)
    proof, honest = verify_module._judge_on_one(source, Hashes(), [], lambda _: None)
    assert verify_module._limit_to_proved(honest, proof, 300) == honest
    replace_entries(folder, 300, {280: entry_of(280, by="mallory")})
    judged = verify_module._judge(source, [Hashes()], None, lambda _: None)
    found = verify_module._limit_to_proved(judged, proof, 300)
    # Of such a file, nothing counts.
    assert (found.size, found.finding.code, found.finding.entry) == (256, "changed", 256)


@pytest.mark.parametrize(
    ("here", "beside", "first"),
    [(3, [2, 4], 2), (2, [4, 3], 2), (None, [4, 3], 3)],
)
def test_of_what_parallel_judges_find_the_first_entry_is_named_and_the_whole_last(
    tmp_path, monkeypatch, here, beside, first
):
    monkeypatch.setattr(verify_module, "ENOUGH_TO_SHARE", 0)
    folder = exported(tmp_path / "out", 5)
    makers = [partial(Refusing, number) for number in beside]
    report = verify(folder, replay=Refusing(here), beside=makers, cores=3)
    assert [(each.code, each.entry) for each in report.findings] == [("refused", first)]


def test_without_a_folder_or_a_checkpoint_there_is_no_verdict(tmp_path):
    folder = exported(tmp_path / "out", 3)
    for path in (tmp_path / "nowhere", folder / "checkpoint", folder / "tile"):
        with pytest.raises(CannotCheck):
            verdict(path)


def test_a_checkpoint_that_another_has_signed_says_nothing(tmp_path):
    folder = exported(tmp_path / "out", 3)
    stranger = Signer.from_seed(ORIGIN, bytes(32)).verifier
    told = f"{LOG.verifier.label} signed the checkpoint, not {stranger.label}"
    with pytest.raises(OtherKey, match=re.escape(told)):
        verify_with(folder, stranger)
    entries = [entry_of(number) for number in range(3)]
    (folder / "checkpoint").write_bytes(checkpoint_of(entries, origin="kashi.test/other"))
    report = verdict(folder)
    assert [(p.code, p.file) for p in report.findings] == [("bad_note", "checkpoint")]
    assert (report.origin, report.size, report.root) == (ORIGIN, 0, b"")


def test_what_is_no_plain_file_is_a_problem(tmp_path):
    folder = exported(tmp_path / "out", 3)
    for name in ("tile/0/000.p/3", "tile/entries/000.p/3", "batches/000.p/3"):
        path = folder / name
        path.rename(tmp_path / "away")
        os.mkfifo(path)
        assert name in {problem.file for problem in verdict(folder).findings}
        path.unlink()
        (tmp_path / "away").rename(path)
    assert verdict(folder).ok


def test_without_a_replay_attachments_must_only_be_readable(tmp_path):
    folder = exported(tmp_path / "out", 30)
    path = folder / "batches/000.p/30"
    flip(path, path.read_bytes().index(b"file 1 of 9"))
    assert verify(folder).ok
    path.write_bytes(path.read_bytes()[:-1])
    last = max(number for number in range(30) if files_of(number))
    assert [(p.code, p.entry) for p in verify(folder).findings] == [("incomplete_file", last)]


def test_a_log_with_three_levels_of_tiles_is_proved_from_the_top_down(tmp_path):
    size = 256 * 256 + 300
    folder = exported(tmp_path / "out", size)
    assert verdict(folder).ok
    flip(folder / "tile/1/000", 3 * 32)
    assert [(p.code, p.entry, p.file) for p in verify(folder).findings] == [
        ("bad_tile", 3 * 256, "tile/1/000")
    ]
    flip(folder / "tile/entries/004", 2)
    assert [(p.code, p.entry, p.file) for p in verify(folder).findings] == [
        ("bad_entry", 4 * 256, "tile/entries/004"),
        ("bad_tile", 0, "tile/1/000"),
    ]


@pytest.mark.parametrize("seed", range(100))
def test_whatever_happens_to_a_folder_there_is_a_report_and_it_is_not_good(tmp_path, seed):
    choose = random.Random(seed)
    folder = exported(tmp_path / "out", 270)
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    for path in choose.sample(paths, choose.randint(1, 3)):
        data = path.read_bytes()
        start, end = sorted(choose.choices(range(len(data)), k=2))
        damage = choose.choice([b"", b"\x00", b"\xff" * 9, choose.choice(paths).read_bytes()])
        path.write_bytes(data[:start] + damage + data[end + 1 :])
    assert first_problem(folder)


# A folder that grows, and copies of one


def overlaid(tmp_path, below, above):
    """An export of one size over one of another; the checkpoint is that of the size above."""
    folder = exported(tmp_path / "out", below)
    shutil.copytree(exported(tmp_path / "above", above), folder, dirs_exist_ok=True)
    return folder


@pytest.mark.parametrize(("below", "above"), [(300, 30), (30, 300), (300, 259), (259, 300)])
def test_the_union_of_two_good_exports_is_good(tmp_path, below, above):
    folder = overlaid(tmp_path, below, above)
    codes = [code for code, _ in noticed(folder)]
    assert codes == (["newer_files"] if below > above else [])
    assert verdict(folder).size == above


@pytest.mark.parametrize("size", [3, 255, 300, 65_537])
def test_a_partial_tile_that_has_gone_is_read_from_the_full_one_in_its_place(tmp_path, size):
    folder = exported(tmp_path / "out", size)
    grown = exported(tmp_path / "grown", -(-size // 256) * 256)
    for outgrown in sorted(folder.rglob("*.p")):
        full = outgrown.with_suffix("").relative_to(folder)
        if (grown / full).exists():
            shutil.rmtree(outgrown)
            shutil.copy(grown / full, folder / full)
    replay = Hashes()
    report = verify(folder, replay=replay)
    assert (report.findings, replay.numbers) == ([], list(range(size)))
    # What it says of later entries, nobody has signed here; of these it must be right.
    last = folder / tile_path("entries", (size - 1) // 256, 256)
    data = last.read_bytes()
    last.write_bytes(data[:-1] + b"!")
    assert verdict(folder).ok
    last.write_bytes(data.replace(b'"by":"op-1"', b'"by":"op-2"', 1))
    assert verdict(folder).findings[0].code == "bad_entry"


@pytest.mark.parametrize("size", [3, 300, 513])
def test_a_copy_cut_short_anywhere_cannot_be_checked_and_accuses_nobody(tmp_path, size):
    honest = exported(tmp_path / "honest", size)
    choose = random.Random(size)
    for path in sorted(path for path in honest.rglob("*") if path.is_file()):
        name, data = path.relative_to(honest).as_posix(), path.read_bytes()
        if name == "checkpoint" or name.startswith("batches"):
            continue
        for length in (0, 1, len(data) - 1, choose.randrange(len(data)), None):
            folder = tmp_path / "out"
            shutil.copytree(honest, folder)
            (folder / name).unlink() if length is None else os.truncate(folder / name, length)
            report = verdict(folder)
            assert not report.ok, (name, length)
            assert not any(problem.is_violation for problem in report.findings), report.findings
            shutil.rmtree(folder)


@pytest.mark.parametrize("seed", range(20))
def test_any_part_of_a_good_export_accuses_nobody(tmp_path, seed):
    choose = random.Random(seed)
    folder = exported(tmp_path / "out", choose.choice([3, 300, 513, 66_000]))
    paths = sorted(path for path in folder.glob("tile/**/*") if path.is_file())
    for path in choose.sample(paths, choose.randint(1, len(paths))):
        path.unlink()
    report = verify(folder)
    assert not report.ok
    assert not any(problem.is_violation for problem in report.findings), report.findings


def test_a_contradiction_is_found_beside_what_is_missing(tmp_path):
    folder = exported(tmp_path / "out", 600)
    (folder / "tile/0/000").unlink()
    replace_entries(folder, 600, {300: entry_of(300, by="mallory")})
    found = [(problem.code, problem.is_violation) for problem in verdict(folder).findings]
    assert ("bad_entry", True) in found
    assert ("missing_file", False) in found


def test_a_page_in_place_of_a_checkpoint_is_no_checkpoint(tmp_path):
    folder = exported(tmp_path / "out", 3)
    for page in (b"<html>Sign in, please</html>", b"", b"\xff", b"a\n\nb\n"):
        (folder / "checkpoint").write_bytes(page)
        with pytest.raises(NoCheckpoint):
            verdict(folder)


# Since an earlier checkpoint


def since(size, root=None):
    """Return the checkpoint of the first entries, or one of another root."""
    hashes = map(leaf_hash, map(entry_of, range(size)))
    return Checkpoint(ORIGIN, size, root or Frontier.over(b"".join(hashes)).root())


@pytest.mark.parametrize("size", [0, 1, 256, 257, 512, 513])
def test_a_log_has_grown_from_each_of_its_checkpoints_and_from_no_other(tmp_path, size):
    out = exported(tmp_path / "out", 513)
    report = verify(out, replay=Hashes(), since=since(size))
    assert report.findings == []
    assert Check("entries as seen before", size) in report.checks
    report = verify(out, replay=Hashes(), since=since(size, bytes(32)))
    detail = f"its first {size} entries are others than those it had then"
    assert report.findings == [Finding("forked", detail, file="checkpoint")]
    assert "entries as seen before" not in {check.name for check in report.checks}


def test_a_log_of_fewer_entries_than_it_had_is_rolled_back(tmp_path):
    report = verify(exported(tmp_path / "out", 5), replay=Hashes(), since=since(6))
    detail = "the log had 6 entries, and now has 5"
    assert report.findings == [Finding("rolled_back", detail, file="checkpoint")]


def test_of_a_damaged_log_only_the_damage_is_told(tmp_path):
    out = exported(tmp_path / "out", 5)
    replace_entries(out, 5, {2: entry_of(3)})
    report = verify(out, replay=Hashes(), since=since(4))
    assert report.findings == verdict(out).findings != []
