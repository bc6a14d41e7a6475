"""Programs that others wrote accept our ledgers, and refuse them when they were tampered with."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from ledger.cosign import Cosigner, add_cosignatures
from ledger.note import Checkpoint
from ledger.tiles import Tile, height_of, level_tiles
from tests.interop.ledgers import Ledger, checkpoint_of, copied, flip, put, resigned
from tests.interop.programs import HERE, Refused, aics_tlog, go, pymerkle, run_aics, sigstore
from tests.test_shape import lock_faults

SIZES = [0, 1, 2, 255, 256, 257, 65_536, 65_537]
# Sigstore checks proofs of entries; without entries there is no proof.
ACCEPTED = [(each, size) for each in (go, aics_tlog, pymerkle) for size in SIZES]
ACCEPTED += [(sigstore, size) for size in SIZES[1:]]
GROWTH = [(1, 2), (2, 255), (255, 256), (256, 257), (257, 65_536), (65_536, 65_537)]
TIME = 1_740_801_600
WITNESS = Cosigner.from_seed("witness.test/ours", bytes(range(32)))


def named(value: object) -> str:
    return getattr(value, "__name__", None) or str(value)


@pytest.mark.parametrize(("program", "size"), ACCEPTED, ids=named)
def test_a_foreign_program_accepts_a_ledger_of_any_size(ledger, scratch, program, size):
    assert checkpoint_of(ledger.folders[size]).size == size
    program(scratch, ledger.folders[size], ledger.vkey)


@pytest.mark.parametrize(("old", "new"), GROWTH)
@pytest.mark.parametrize("program", [go, aics_tlog], ids=named)
def test_a_foreign_program_sees_that_a_ledger_has_only_grown(ledger, scratch, program, old, new):
    older = ledger.folders[old] / "checkpoint"
    program(scratch, ledger.folders[new], ledger.vkey, (older,))


# Changes of the last entry of a ledger and of the data that proves it.


def a_bit_of_an_entry(folder: Path, _: Ledger) -> None:
    flip(folder / last_tile("entries", folder).path, -1)


def a_bit_of_the_lowest_tile(folder: Path, _: Ledger) -> None:
    flip(folder / last_tile(0, folder).path, -1)


def a_bit_of_the_highest_tile(folder: Path, _: Ledger) -> None:
    flip(folder / last_tile(height_of(checkpoint_of(folder).size) - 1, folder).path, -1)


def a_bit_of_the_signature(folder: Path, _: Ledger) -> None:
    """The lowest bit of the tenth letter: still base64, but another signature."""
    note = (folder / "checkpoint").read_text()
    head, space, letters = note.rpartition(" ")
    changed = "B" if letters[10] == "A" else "A"
    put(folder / "checkpoint", f"{head}{space}{letters[:10]}{changed}{letters[11:]}".encode())


def a_signed_root(folder: Path, ledger: Ledger) -> None:
    """The log itself lies."""
    honest = checkpoint_of(folder)
    resigned(folder, ledger.signer, Checkpoint(honest.origin, honest.size, bytes(32)))


def last_tile(level: int | str, folder: Path) -> Tile:
    return list(level_tiles(level, checkpoint_of(folder).size))[-1]


class Tampered(NamedTuple):
    program: Callable[..., None]
    change: Callable[[Path, Ledger], None]
    words: str

    def __str__(self) -> str:
        return f"{self.program.__name__}-{self.change.__name__}"


TAMPERED = [
    Tampered(go, a_bit_of_an_entry, "entry {last} is not in the tree"),
    Tampered(go, a_bit_of_the_lowest_tile, "downloaded inconsistent tile"),
    Tampered(go, a_bit_of_the_highest_tile, "downloaded inconsistent tile"),
    Tampered(go, a_bit_of_the_signature, "invalid signature for key kashi.test/service"),
    Tampered(go, a_signed_root, "downloaded inconsistent tile"),
    Tampered(aics_tlog, a_bit_of_an_entry, "does not match its level 0 tile"),
    Tampered(aics_tlog, a_bit_of_the_lowest_tile, "TileVerificationError"),
    Tampered(aics_tlog, a_bit_of_the_highest_tile, "TileVerificationError"),
    Tampered(aics_tlog, a_bit_of_the_signature, "log signature from kashi.test/service failed"),
    Tampered(aics_tlog, a_signed_root, "TileVerificationError"),
    Tampered(sigstore, a_bit_of_an_entry, "calculated root hash does not match"),
    Tampered(sigstore, a_bit_of_the_signature, "invalid checkpoint signature"),
    Tampered(sigstore, a_signed_root, "calculated root hash does not match"),
    Tampered(pymerkle, a_bit_of_an_entry, "another root"),
    Tampered(pymerkle, a_signed_root, "another root"),
]


@pytest.mark.parametrize("size", [2, 257, 65_537])
@pytest.mark.parametrize("tampered", TAMPERED, ids=str)
def test_a_foreign_program_refuses_what_was_tampered_with(
    ledger, scratch, tmp_path, tampered, size
):
    folder = copied(ledger.folders[size], tmp_path / "copy")
    tampered.change(folder, ledger)
    with pytest.raises(Refused) as refused:
        tampered.program(scratch, folder, ledger.vkey)
    assert tampered.words.format(last=size - 1) in str(refused.value)


@pytest.mark.parametrize(
    ("program", "words"),
    [(go, "invalid transparency proof"), (aics_tlog, "history was rewritten")],
    ids=named,
)
def test_a_foreign_program_refuses_another_history(ledger, scratch, tmp_path, program, words):
    older = copied(ledger.folders[2], tmp_path / "older")
    a_signed_root(older, ledger)
    with pytest.raises(Refused) as refused:
        program(scratch, ledger.folders[257], ledger.vkey, (older / "checkpoint",))
    assert words in str(refused.value)


# Cosignatures


def cosigned(ledger: Ledger, folder: Path, cosigner: Cosigner) -> Path:
    """A copy whose checkpoint our witness has cosigned."""
    copied(ledger.folders[257], folder)
    line = cosigner.cosign(checkpoint_of(folder).format(), TIME)
    note = (folder / "checkpoint").read_bytes()
    put(folder / "checkpoint", add_cosignatures(note, [line]))
    return folder


@pytest.mark.parametrize("program", [go, aics_tlog, sigstore], ids=named)
def test_a_foreign_program_is_not_disturbed_by_a_cosignature(ledger, scratch, tmp_path, program):
    program(scratch, cosigned(ledger, tmp_path / "copy", WITNESS), ledger.vkey)


def test_a_foreign_program_accepts_our_cosignature_and_refuses_a_wrong_one(ledger, tmp_path):
    folder = cosigned(ledger, tmp_path / "copy", WITNESS)
    words = ("verify-checkpoint", "--tiles", folder, "--log-key", ledger.vkey, "--quorum", "1")
    words += ("--witness-key", WITNESS.verifier.format())
    run_aics("aics_tlog", *words)
    a_bit_of_the_signature(folder, ledger)
    with pytest.raises(Refused, match="no tile source served a checkpoint that verifies"):
        run_aics("aics_tlog", *words)


# What is installed


def test_what_is_installed_is_pinned_by_hash_and_no_file_names_an_address():
    wanted = {"aics-tlog", "aics-witness"}
    assert lock_faults((HERE / "requirements.txt").read_text(), wanted) == []
    lock = (HERE / "package-lock.json").read_text()
    assert lock_addresses(lock) == []
    packages = {name: each for name, each in json.loads(lock)["packages"].items() if name}
    assert "node_modules/@sigstore/verify" in packages
    assert all(each["integrity"].startswith("sha512-") for each in packages.values())


def test_a_planted_address_in_the_lock_is_found():
    assert lock_addresses('{"resolved": "https' + '://x.test/y"}') == ["resolved", "://"]


def lock_addresses(lock: str) -> list[str]:
    return [word for word in ("resolved", "://") if word in lock]
