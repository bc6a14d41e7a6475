"""`kashi verify` finds every change in the folder of a ledger, and says where it is.

The folder is that of a real service, with 300 entries: two bundles of entries, two tiles of level
0 and one of level 1, and the files of batches beside both bundles. A mutation is a function of a
copy. Those that sign anew show that lies of the log itself are found.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner, Result

from ledger.bundle import encode_attachments, encode_bundle
from ledger.canon import decode, encode
from ledger.folder import FolderReader
from ledger.note import Checkpoint, Signer, sign
from ledger.tiles import parse_tile_path
from meter.cli.main import main
from tests.interop.ledgers import (
    Ledger,
    attachments_of,
    checkpoint_of,
    copied,
    entries_of,
    flip,
    put,
    rewritten,
)

OLD_SIZE, SIZE = 257, 300
OTHER = Signer.from_seed("kashi.test/service", bytes(32))
STRANGER = Signer.from_seed("kashi.test/stranger", bytes(32))


class Copy(NamedTuple):
    """A folder to tamper with, and its original ledger."""

    folder: Path
    ledger: Ledger

    @property
    def note(self) -> str:
        return self.at("checkpoint").read_text()

    @property
    def text(self) -> str:
        """The text that the log has signed."""
        return checkpoint_of(self.ledger.folders[SIZE]).format()

    def at(self, path: str) -> Path:
        return self.folder / path

    def put_note(self, note: str) -> None:
        put(self.at("checkpoint"), note.encode())

    def sign(self, text: str) -> None:
        """Let the log sign another checkpoint."""
        put(self.at("checkpoint"), sign(text, self.ledger.signer))

    def entries(self, path: str) -> list[bytes]:
        return FolderReader(self.folder).entries(parse_tile_path(path))

    def put_entries(self, path: str, entries: list[bytes]) -> None:
        put(self.at(path), encode_bundle(entries))

    def files(self, path: str) -> dict[int, list[bytes]]:
        return FolderReader(self.folder).attachments(parse_tile_path(path))

    def put_files(self, path: str, files: dict[int, list[bytes]]) -> None:
        put(self.at(path), encode_attachments(files))

    def rewrite(self, change: Callable[[list[bytes], dict[int, list[bytes]]], None]) -> None:
        """Let the log sign other contents, all of them consistent."""
        entries, files = entries_of(self.folder), attachments_of(self.folder)
        change(entries, files)
        rewritten(self.folder, self.ledger.signer, entries, files)


class Found(NamedTuple):
    """A mutation, and the first problem that must be found."""

    change: Callable[[Copy], None]
    place: str
    code: str
    words: str

    def __str__(self) -> str:
        return self.change.__name__


class Noticed(NamedTuple):
    """A mutation that is no fault, and the notice that is told."""

    change: Callable[[Copy], None]
    code: str
    file: str

    def __str__(self) -> str:
        return f"{self.change.__name__}-{self.file}"


# Entries


def two_entries_swapped(copy: Copy) -> None:
    entries = copy.entries("tile/entries/000")
    entries[10], entries[11] = entries[11], entries[10]
    copy.put_entries("tile/entries/000", entries)


def two_entries_and_their_hashes_swapped(copy: Copy) -> None:
    two_entries_swapped(copy)
    hashes = copy.at("tile/0/000").read_bytes()
    swapped = hashes[11 * 32 : 12 * 32] + hashes[10 * 32 : 11 * 32]
    put(copy.at("tile/0/000"), hashes[: 10 * 32] + swapped + hashes[12 * 32 :])


def an_entry_with_a_space(copy: Copy) -> None:
    entries = copy.entries("tile/entries/000")
    entries[20] = entries[20].replace(b'":', b'": ', 1)
    copy.put_entries("tile/entries/000", entries)


def a_bundle_truncated(copy: Copy) -> None:
    put(copy.at("tile/entries/000"), copy.at("tile/entries/000").read_bytes()[:-1])


def the_last_entry_cut_off(copy: Copy) -> None:
    path = "tile/entries/001.p/44"
    copy.put_entries(path, copy.entries(path)[:-1])


def an_entry_added(copy: Copy) -> None:
    path = "tile/entries/001.p/44"
    copy.put_entries(path, [*copy.entries(path), b"{}"])


# Files dropped, added and renamed


def dropped(path: str) -> Callable[[Copy], None]:
    def change(copy: Copy) -> None:
        copy.at(path).unlink()

    change.__name__ = f"{path} dropped"
    return change


def added(path: str, data: bytes = b"x") -> Callable[[Copy], None]:
    def change(copy: Copy) -> None:
        put(copy.at(path), data)

    change.__name__ = f"{path} added"
    return change


def renamed(path: str, to: str) -> Callable[[Copy], None]:
    def change(copy: Copy) -> None:
        put(copy.at(to), copy.at(path).read_bytes())
        copy.at(path).unlink()

    change.__name__ = f"{path} renamed to {to}"
    return change


def replaced_by_a_folder(path: str) -> Callable[[Copy], None]:
    def change(copy: Copy) -> None:
        copy.at(path).unlink()
        copy.at(path).mkdir()

    change.__name__ = f"{path} replaced by a folder"
    return change


def a_tile_replaced_by_a_link(copy: Copy) -> None:
    copy.at("tile/0/000").rename(copy.folder.parent / "tile")
    copy.at("tile/0/000").symlink_to(copy.folder.parent / "tile")


def a_narrower_tile(copy: Copy) -> None:
    """Of another width by its name, and by what it holds."""
    path = copy.at("tile/0/001.p/44")
    put(copy.at("tile/0/001.p/43"), path.read_bytes()[: 43 * 32])
    path.unlink()


def an_outgrown_tile_of_other_hashes(copy: Copy) -> None:
    put(copy.at("tile/0/001.p/3"), bytes(3 * 32))


# Bits


def flipped(path: str, place: int) -> Callable[[Copy], None]:
    def change(copy: Copy) -> None:
        flip(copy.at(path), place)

    change.__name__ = f"{path} flipped at {place}"
    return change


# Files beside batches


def batches_of(copy: Copy, count: int = 2) -> tuple[dict[int, list[bytes]], list[int]]:
    """Return the files beside the entries of the first bundle, and the first numbers of batches."""
    files = copy.files("batches/000")
    return files, sorted(files)[:count]


def files_of_two_batches_swapped(copy: Copy) -> None:
    files, (one, two) = batches_of(copy)
    copy.put_files("batches/000", files | {one: files[two], two: files[one]})


def receipts_of_two_batches_swapped(copy: Copy) -> None:
    files, (one, two) = batches_of(copy)
    files[one][1], files[two][1] = files[two][1], files[one][1]
    copy.put_files("batches/000", files)


def the_signature_of_another_receipt(copy: Copy) -> None:
    files, (one, two) = batches_of(copy)
    files[one][2] = files[two][2]
    copy.put_files("batches/000", files)


def the_signature_left_out(copy: Copy) -> None:
    files, (one, _) = batches_of(copy)
    del files[one][2]
    copy.put_files("batches/000", files)


def a_file_beside_no_batch(copy: Copy) -> None:
    files, _ = batches_of(copy)
    copy.put_files("batches/000", files | {0: [b"x"]})


# Changes of the checkpoint by somebody without the key


def an_old_checkpoint(copy: Copy) -> None:
    old = copy.ledger.folders[OLD_SIZE] / "checkpoint"
    put(copy.at("checkpoint"), old.read_bytes())


def the_signature_line_doubled(copy: Copy) -> None:
    line = copy.note.splitlines(keepends=True)[-1]
    copy.put_note(copy.note + line)


def lines_that_end_in_crlf(copy: Copy) -> None:
    copy.put_note(copy.note.replace("\n", "\r\n"))


def other_spelling(base64: str) -> str:
    """Set a bit behind the last byte, in the free part of a padded letter."""
    letters, padding = base64.rstrip("="), base64[len(base64.rstrip("=")) :]
    assert padding
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    return letters[:-1] + alphabet[alphabet.index(letters[-1]) ^ 1] + padding


def a_signature_in_another_spelling(copy: Copy) -> None:
    head, space, base64 = copy.note.removesuffix("\n").rpartition(" ")
    copy.put_note(f"{head}{space}{other_spelling(base64)}\n")


def a_signature_without_padding(copy: Copy) -> None:
    assert copy.note.endswith("=\n")
    copy.put_note(copy.note.removesuffix("=\n") + "\n")


def a_checkpoint_of_nothing(copy: Copy) -> None:
    copy.put_note("")


def a_size_changed(copy: Copy) -> None:
    copy.put_note(copy.note.replace("\n300\n", "\n299\n"))


def a_checkpoint_of_another_key(copy: Copy) -> None:
    put(copy.at("checkpoint"), sign(copy.text, OTHER))


def a_checkpoint_of_another_log(copy: Copy) -> None:
    text = Checkpoint(STRANGER.name, SIZE, bytes(32)).format()
    put(copy.at("checkpoint"), sign(text, STRANGER))


# Lies that the log itself may sign


def a_signed_size_with_a_leading_zero(copy: Copy) -> None:
    copy.sign(copy.text.replace("\n300\n", "\n0300\n"))


def a_signed_root_in_another_spelling(copy: Copy) -> None:
    origin, size, root = copy.text.splitlines()
    copy.sign(f"{origin}\n{size}\n{other_spelling(root)}\n")


def a_signed_line_more(copy: Copy) -> None:
    copy.sign(f"{copy.text}extension\n")


def a_signed_origin_of_another(copy: Copy) -> None:
    copy.sign(copy.text.replace("kashi.test/service", "kashi.test/other"))


def a_signed_root_of_another_size(copy: Copy) -> None:
    old = checkpoint_of(copy.ledger.folders[OLD_SIZE])
    copy.sign(Checkpoint(old.origin, SIZE, old.root).format())


def a_signed_size_of_another_root(copy: Copy) -> None:
    copy.sign(copy.text.replace("\n300\n", "\n299\n"))


def signed_entries_swapped(copy: Copy) -> None:
    def change(entries: list[bytes], _: dict[int, list[bytes]]) -> None:
        entries[10], entries[11] = entries[11], entries[10]

    copy.rewrite(change)


def a_signed_entry_with_a_space(copy: Copy) -> None:
    def change(entries: list[bytes], _: dict[int, list[bytes]]) -> None:
        entries[20] = entries[20].replace(b'":', b'": ', 1)

    copy.rewrite(change)


def a_signed_entry_left_out(copy: Copy) -> None:
    def change(entries: list[bytes], _: dict[int, list[bytes]]) -> None:
        del entries[20]

    copy.rewrite(change)


def a_signed_cost_of_a_fen_more(copy: Copy) -> None:
    def change(entries: list[bytes], _: dict[int, list[bytes]]) -> None:
        fields: dict[str, Any] = decode(entries[20])
        entries[20] = encode(fields | {"cost": fields["cost"] + 1})

    copy.rewrite(change)


# Folders without a fault


def an_old_folder(copy: Copy) -> None:
    shutil.rmtree(copy.folder)
    copied(copy.ledger.folders[OLD_SIZE], copy.folder)


def the_last_batch_left_out(copy: Copy) -> None:
    def change(entries: list[bytes], files: dict[int, list[bytes]]) -> None:
        last = max(files)
        del entries[last:], files[last]

    copy.rewrite(change)


def a_line_of_a_stranger(copy: Copy) -> None:
    line = sign(copy.text, STRANGER).decode().splitlines(keepends=True)[-1]
    copy.put_note(copy.note + line)


def a_tile_outgrown(copy: Copy) -> None:
    """Of an older checkpoint, and with the hashes of today's."""
    put(copy.at("tile/0/001.p/3"), copy.at("tile/0/001.p/44").read_bytes()[: 3 * 32])


BUNDLE, LAST_BUNDLE = "tile/entries/000", "tile/entries/001.p/44"
TILE, LAST_TILE, TOP_TILE = "tile/0/000", "tile/0/001.p/44", "tile/1/000.p/1"
FILES, LAST_FILES = "batches/000", "batches/001.p/44"

FOUND = [
    Found(two_entries_swapped, f"entry 10, {BUNDLE}", "bad_entry", "holds another entry 10"),
    Found(
        two_entries_and_their_hashes_swapped, f"entry 0, {BUNDLE}", "bad_entry", "than these 256"
    ),
    Found(an_entry_with_a_space, f"entry 20, {BUNDLE}", "bad_entry", "holds another entry 20"),
    Found(an_entry_added, f"entry 299, {LAST_BUNDLE}", "bad_bundle", "4 bytes follow entry 43"),
    Found(
        an_outgrown_tile_of_other_hashes, "entry 256, tile/0/001.p/3", "bad_tile", "begin with it"
    ),
    Found(flipped(BUNDLE, 2), f"entry 0, {BUNDLE}", "bad_entry", "holds another entry 0"),
    Found(flipped(LAST_BUNDLE, -1), f"entry 299, {LAST_BUNDLE}", "bad_entry", "another entry 299"),
    Found(flipped(TILE, 7 * 32), f"entry 7, {TILE}", "bad_tile", "its hash 7 is not that of"),
    Found(flipped(LAST_TILE, -1), f"entry 299, {LAST_TILE}", "bad_tile", "its hash 43 is not that"),
    Found(flipped(TOP_TILE, 0), f"entry 0, {TOP_TILE}", "bad_tile", "its hash 0 is not that of"),
    Found(flipped(FILES, 100), "entry 7", "wrong_envelope", "not the one that the entry names"),
    Found(flipped(LAST_FILES, -1), "entry 299", "bad_receipt_signature", "Kashi-Signature header"),
    Found(files_of_two_batches_swapped, "entry 7", "wrong_envelope", "that the entry names"),
    Found(receipts_of_two_batches_swapped, "entry 7", "wrong_receipt", "that the entry names"),
    Found(
        the_signature_of_another_receipt, "entry 7", "bad_receipt_signature", "did not sign this"
    ),
    Found(a_file_beside_no_batch, "entry 0", "extra_attachment", "only batches and digests"),
    Found(the_signature_line_doubled, "checkpoint", "bad_note", "has signed twice"),
    Found(a_size_changed, "checkpoint", "bad_note", "does not fit the text"),
    Found(a_signed_size_with_a_leading_zero, "checkpoint", "bad_note", "'0300' is not a number"),
    Found(
        a_signed_root_in_another_spelling, "checkpoint", "bad_note", "another spelling of base64"
    ),
    Found(a_signed_line_more, "checkpoint", "bad_note", "an origin, a size and a root"),
    Found(a_signed_origin_of_another, "checkpoint", "bad_note", "is of 'kashi.test/other'"),
    Found(a_signed_root_of_another_size, "checkpoint", "bad_root", "neither the entries nor"),
    Found(signed_entries_swapped, "entry 10", "not_as_decided", "id is 'r10', not 'r9'"),
    Found(a_signed_entry_with_a_space, "entry 20", "not_canonical", "another spelling"),
    Found(a_signed_entry_left_out, "entry 20", "not_as_decided", "id is 'r20', not 'r19'"),
    Found(a_signed_cost_of_a_fen_more, "entry 20", "not_as_decided", "cost is 46, not 45"),
]

# What accuses nobody, for it may be a copy that was cut short.
UNREAD = [
    Found(
        a_signed_size_of_another_root,
        "entry 256, tile/entries/001.p/43",
        "missing_file",
        "is missing",
    ),
    Found(renamed(FILES, "batches/000.p/9"), "entry 7", "missing_attachment", "envelope, receipt"),
    Found(
        a_bundle_truncated, f"entry 255, {BUNDLE}", "incomplete_file", "ends within its entry 255"
    ),
    Found(the_last_entry_cut_off, f"entry 299, {LAST_BUNDLE}", "incomplete_file", "ends before"),
    Found(dropped(BUNDLE), f"entry 0, {BUNDLE}", "missing_file", "is missing"),
    Found(dropped(LAST_BUNDLE), f"entry 256, {LAST_BUNDLE}", "missing_file", "is missing"),
    Found(dropped(TILE), f"entry 0, {TILE}", "missing_file", "is missing"),
    Found(dropped(LAST_TILE), f"entry 256, {LAST_TILE}", "missing_file", "is missing"),
    Found(dropped(TOP_TILE), f"entry 0, {TOP_TILE}", "missing_file", "is missing"),
    Found(dropped(FILES), "entry 7", "missing_attachment", "envelope, receipt, signature"),
    Found(dropped(LAST_FILES), "entry 257", "missing_attachment", "envelope, receipt, signature"),
    Found(renamed(LAST_TILE, "tile/0/001.p/43"), f"entry 256, {LAST_TILE}", "missing_file", ""),
    Found(renamed(LAST_TILE, "tile/0/001.p/044"), f"entry 256, {LAST_TILE}", "missing_file", ""),
    Found(a_narrower_tile, f"entry 256, {LAST_TILE}", "missing_file", "is missing"),
    Found(a_tile_replaced_by_a_link, f"entry 0, {TILE}", "bad_folder", "is not a plain file"),
    Found(the_signature_left_out, "entry 7", "missing_attachment", "envelope, receipt, signature"),
    Found(an_old_checkpoint, "entry 256, tile/entries/001.p/1", "missing_file", "is missing"),
]

# Without a checkpoint that the key has signed, there is no report.
NO_REPORT = [
    Found(lines_that_end_in_crlf, "checkpoint", "no_checkpoint", "a control character"),
    Found(
        a_signature_in_another_spelling, "checkpoint", "no_checkpoint", "another spelling of base64"
    ),
    Found(a_signature_without_padding, "checkpoint", "no_checkpoint", "is not base64"),
    Found(a_checkpoint_of_another_key, "checkpoint", "other_key", "signed the checkpoint, not"),
    Found(a_checkpoint_of_another_log, "checkpoint", "other_key", "signed the checkpoint, not"),
    Found(
        a_checkpoint_of_nothing,
        "checkpoint",
        "no_checkpoint",
        "an empty line, and lines of signatures",
    ),
]

# What nothing that was signed needs, or what is read from where it stands.
NOTICED = [
    Noticed(added("tile/0/002"), "newer_files", "tile/0/002"),
    Noticed(added("tile/2/000.p/1"), "newer_files", "tile/2/000.p/1"),
    Noticed(added("batches/002"), "newer_files", "batches/002"),
    Noticed(added("checkpoint.tmp"), "newer_files", "checkpoint.tmp"),
    Noticed(added("notes.txt"), "foreign_files", "notes.txt"),
    Noticed(added("tile/\x1b[2J"), "foreign_files", r"'tile/\x1b[2J'"),
    Noticed(renamed(LAST_TILE, "tile/0/001"), "newer_files", "tile/0/001"),
    Noticed(renamed(LAST_BUNDLE, "tile/entries/001"), "newer_files", "tile/entries/001"),
]


@pytest.fixture
def copy(small_ledger: Ledger, tmp_path: Path) -> Copy:
    return Copy(copied(small_ledger.folders[SIZE], tmp_path / "copy"), small_ledger)


def verify(copy: Copy, *words: object, vkey: str | None = None) -> Result:
    command = ["verify", str(copy.folder), "--vkey", vkey or copy.ledger.vkey, *map(str, words)]
    return CliRunner().invoke(main, command)


def first_problem(ended: Result) -> str:
    """Return the first problem that the command finds, after a check of its exit code."""
    assert ended.exit_code == 1, (ended.output, ended.exception)
    assert ended.stderr == ""
    assert "good: " not in ended.stdout
    return next(line for line in ended.stdout.splitlines() if line.startswith("VIOLATED: "))


def test_an_honest_copy_is_good(copy):
    assert copy.entries(BUNDLE) == entries_of(copy.folder)[:256]
    assert verify(copy).exit_code == 0


@pytest.mark.parametrize("found", FOUND, ids=str)
def test_a_mutation_is_found_and_named(copy, found):
    found.change(copy)
    line = first_problem(verify(copy))
    assert line.startswith(f"VIOLATED: {found.place}: {found.code}: ")
    assert found.words in line
    ended = verify(copy, "--json")
    assert ended.exit_code == 1
    verdict = json.loads(ended.stdout)
    assert verdict["verdict"] == "violated"
    assert line == f"VIOLATED: {told(verdict['findings'][0])}"


@pytest.mark.parametrize("found", UNREAD, ids=str)
def test_what_is_not_there_in_whole_is_named_and_accuses_nobody(copy, found):
    found.change(copy)
    ended = verify(copy)
    assert (ended.exit_code, ended.stderr) == (2, "")
    assert not {"VIOLATED", "good: "} & set(ended.stdout.split())
    lines = [line for line in ended.stdout.splitlines() if line.startswith("could not check: ")]
    assert lines[0].startswith(f"could not check: {found.place}: {found.code}: ")
    assert found.words in lines[0]
    ended = verify(copy, "--json")
    assert ended.exit_code == 2
    verdict = json.loads(ended.stdout)
    assert verdict["verdict"] == "not_checked"
    assert lines[0].startswith(f"could not check: {told(verdict['findings'][0])}: ")


@pytest.mark.parametrize("found", NO_REPORT, ids=str)
def test_without_a_checkpoint_to_go_by_there_is_one_line(copy, found):
    found.change(copy)
    for words in ([], ["--json"]):
        ended = verify(copy, *words)
        assert (ended.exit_code, ended.stdout) == (2, "")
        assert ended.stderr.startswith(f"could not check: {found.code}: ")
        assert found.words in ended.stderr


@pytest.mark.parametrize("noticed", NOTICED, ids=str)
def test_what_nothing_signed_needs_is_a_notice(copy, noticed):
    noticed.change(copy)
    ended = verify(copy)
    assert (ended.exit_code, ended.stderr) == (0, "")
    (line,) = [line for line in ended.stdout.splitlines() if line.startswith("notice: ")]
    assert line.startswith(f"notice: {noticed.code}: ")
    assert line.endswith(f": {noticed.file}")


def told(problem: dict[str, Any]) -> str:
    """What a line says of a problem that is given as JSON."""
    entry = [] if problem["entry"] is None else [f"entry {problem['entry']}"]
    places = ", ".join([*entry, *filter(None, [problem["file"]])])
    return f"{places}: {problem['code']}: {problem['detail']}"


def test_a_wrong_key_is_told_as_such(copy):
    ended = verify(copy, vkey=OTHER.verifier.format())
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert f"a key of this log's, and not {OTHER.verifier.label}, which none" in ended.stderr


@pytest.mark.parametrize("change", [dropped("checkpoint"), replaced_by_a_folder("checkpoint")])
def test_without_a_checkpoint_nothing_is_said_of_a_folder(copy, change):
    change(copy)
    for words in ([], ["--json"]):
        ended = verify(copy, *words)
        assert (ended.exit_code, ended.stdout) == (2, "")
        assert ended.stderr.startswith("could not check: cannot_check: checkpoint is ")


@pytest.mark.parametrize("change", [an_old_folder, the_last_batch_left_out])
def test_a_history_cut_short_is_found_by_who_kept_a_receipt_or_a_verdict(copy, change, tmp_path):
    receipt, state = tmp_path / "receipt", tmp_path / "state"
    receipt.write_bytes(copy.ledger.receipt)
    receipt.with_name("receipt.sig").write_text(copy.ledger.receipt_signature)
    assert verify(copy, "--receipt", receipt, "--state", state).exit_code == 0
    change(copy)
    assert verify(copy).exit_code == 0
    # By the receipt alone, it may as well be an older copy.
    ended = verify(copy, "--receipt", receipt)
    assert ended.exit_code == 2
    assert f"could not check: {receipt}: newer_receipt: " in ended.stdout
    line = first_problem(verify(copy, "--since", state))
    assert line.startswith("VIOLATED: checkpoint: rolled_back: the log had 300 entries, and now")


@pytest.mark.parametrize("change", [a_line_of_a_stranger, a_tile_outgrown])
def test_what_is_no_fault_is_good(copy, change):
    change(copy)
    assert verify(copy).exit_code == 0
