"""Branches that the monitor knows, what it keeps at once, and which files of evidence it reads."""

import json
import shutil
from pathlib import Path

import pytest

from ledger.cosign import Cosigner, add_cosignatures
from ledger.errors import CannotCheck
from ledger.note import Checkpoint, Signer, sign
from meter.auditor import evidence
from tests.books import ORIGIN
from tests.monitoring import grow
from tests.sites import NOON


@pytest.mark.parametrize("later", [0, 1, 5])
async def test_what_is_of_a_known_branch_is_no_damage_though_no_tile_of_it_is_served(
    site, watch, later
):
    twin = site.writer.twin()
    site.post(3)
    site.publish()
    await watch.poll()
    grow(twin, 30)
    before = twin.twin()
    grow(twin, later)
    site.publish(twin)
    await watch.poll()
    site.publish()  # the log shows its own history again
    await watch.poll()
    site.publish(before)
    shutil.rmtree(site.folder / "tile")
    # The same checkpoint under another note is not the one that was refused.
    note = site.checkpoint
    cosigned = Cosigner.from_seed("example.com/w", bytes(32)).cosign(
        note.decode().partition("\n\n")[0] + "\n", NOON
    )
    (site.folder / "checkpoint").write_bytes(add_cosignatures(note, [cosigned]))
    await watch.poll()
    assert watch.alarms() == {"fork"}
    assert watch.said("fork") == ["on"]
    assert watch.said("damage") == []


async def test_a_fork_is_kept_by_the_look_that_finds_it(site, watch):
    twin = site.writer.twin()
    site.post(3)
    site.publish()
    await watch.poll()
    grow(twin, 30)
    site.publish(twin)
    await watch.poll()
    watch.restart()
    assert watch.alarms() == {"fork"}


async def test_ten_branches_are_kept_and_no_more(site, watch):
    twins = [site.writer.twin() for _ in range(11)]
    site.post(3)
    site.publish()
    await watch.poll()
    for number, twin in enumerate(twins):
        twin.contract(f"other-{number}")
        site.publish(twin)
        await watch.poll()
    names = [f"fork-{number}" for number in range(1, 11)]
    assert list(watch.monitor.alarms.details("fork")) == names
    assert {file.stem for file in (watch.data / "evidence").glob("fork-*.json")} == set(names)


async def test_a_branch_of_which_no_hash_is_served_is_taken_for_the_newest_known_one(site, watch):
    one, other = site.writer.twin(), site.writer.twin()
    site.post(3)
    site.publish()
    await watch.poll()
    one.contract("one")
    site.publish(one)
    await watch.poll()
    other.contract("other")
    site.publish(other)
    shutil.rmtree(site.folder / "tile")
    await watch.poll()
    assert list(watch.monitor.alarms.details("fork")) == ["fork-1"]
    assert watch.said("fork") == ["on"]


async def test_alarms_that_cannot_be_kept_are_an_alarm_of_the_disk_at_once(site, watch):
    await watch.poll()
    (watch.data / "alarms.json.tmp").mkdir()  # where the draft of the file must be
    other = Signer.from_seed(ORIGIN, bytes(32))
    (site.folder / "checkpoint").write_bytes(sign(Checkpoint(ORIGIN, 1, bytes(32)).format(), other))
    await watch.poll()
    assert watch.alarms() == {"untrusted", "disk"}
    (watch.data / "alarms.json.tmp").rmdir()
    await watch.poll()
    assert watch.alarms() == {"untrusted"}


MONITORS = {"kind": "fork", "at": 1, "ours": "a", "theirs": "b", "root": "", "hashes": []}
WITNESSES = {"kind": "fork", "at": 1, "signed": "", "offered": "b", "old": 1, "hashes": []}


@pytest.fixture
def files(site) -> list[dict]:
    """The files of evidence of a monitor and of a witness."""
    return [MONITORS, WITNESSES | {"signed": site.checkpoint.decode()}]


def test_a_field_that_no_file_of_evidence_has_is_refused(files):
    for fields in files:
        evidence.read(json.dumps(fields).encode())
        for wrong in (fields | {"more": 1}, dict(list(fields.items())[1:])):
            with pytest.raises(CannotCheck, match="not a file of evidence"):
                evidence.read(json.dumps(wrong).encode())


def test_a_witness_that_found_no_proof_has_no_evidence_of_a_fork(files):
    unproved = json.dumps(files[1] | {"kind": "unproved"}).encode()
    with pytest.raises(CannotCheck, match="a witness found no proof between two checkpoints: ask"):
        evidence.read(unproved)


def test_a_file_of_evidence_has_four_mebibytes_at_most(files, tmp_path):
    path: Path = tmp_path / "evidence.json"
    for fields in files:
        data = json.dumps(fields).encode()
        path.write_bytes(data.ljust(4_194_304))
        assert evidence.read_file(path) == evidence.read(data)
        path.write_bytes(data.ljust(4_194_305))
        with pytest.raises(CannotCheck, match="has more than 4194304 bytes"):
            evidence.read_file(path)
