"""Forks and rollbacks: each is proved, kept, and told once."""

import shutil

import pytest

from ledger.files import DISK
from ledger.note import Checkpoint, claimed_checkpoint, sign
from ledger.verify import verify
from meter.auditor import evidence
from meter.auditor.replay import Audit
from tests.monitoring import Watch, failing, grow


async def test_a_full_disk_hides_no_fork_and_no_violation(site, watch, monkeypatch):
    twin = site.writer.twin()
    site.post()
    site.publish()
    await watch.poll()
    twin.contract("T")
    site.publish(twin)
    with monkeypatch.context() as patch:
        patch.setattr(type(DISK), "append", failing)
        for _ in range(2):
            await watch.poll()
            assert watch.alarms() == {"fork", "disk"}
    assert watch.said("fork") == ["on"]
    assert not (watch.data / "alarms.json").exists()
    await watch.poll()
    assert watch.alarms() == {"fork"}
    watch.restart()
    assert watch.alarms() == {"fork"}
    assert holds(watch, "fork-1").conclusion == "good"


async def test_a_fork_is_proved_kept_and_remembered(site, watch):
    twin = site.writer.twin()
    site.post()
    site.publish()
    await watch.poll()
    ours = site.checkpoint
    for number in range(9):
        twin.contract(f"T{number}")
    site.publish(twin)
    theirs = site.checkpoint
    assert claimed_checkpoint(theirs).size > site.size
    await watch.poll()
    assert watch.alarms() == {"fork"}
    assert watch.monitor.size == site.size
    found = evidence.read_file(watch.data / "evidence/fork-1.json")
    assert (found.theirs.encode(), found.ours.encode()) == (theirs, ours)
    assert holds(watch, "fork-1").conclusion == "good"
    await watch.poll()
    assert watch.said("fork") == ["on"]
    # The log shows its first history again, and grows: it is followed, and the alarm stays.
    site.post()
    site.publish()
    watch.restart()
    assert watch.said("fork") == ["on", "on"]
    await watch.poll()
    assert watch.monitor.size == site.size
    assert watch.alarms() == {"fork"}


@pytest.mark.parametrize("contracts", [0, 1, 2])
async def test_a_fork_of_no_more_entries_is_proved_by_two_checkpoints(site, watch, contracts):
    twin = site.writer.twin()
    site.post()
    site.publish()
    await watch.poll()
    for number in range(contracts + 1):
        twin.contract(f"T{number}")
    assert len(twin.leaves) <= site.size
    site.publish(twin)
    ours = (watch.data / "log/checkpoint").read_text()
    shutil.rmtree(site.folder / "tile")  # the two checkpoints prove it without any tile of theirs
    await watch.poll()
    assert watch.alarms() == {"fork"}
    found = evidence.read_file(watch.data / "evidence/fork-1.json")
    assert (found.ours, found.theirs) == (ours, site.checkpoint.decode())
    assert holds(watch, "fork-1").conclusion == "good"


def holds(watch: Watch, name: str) -> evidence.Judgement:
    """What a file of evidence proves to whoever trusts the log's key."""
    found = evidence.read_file(watch.data / "evidence" / f"{name}.json")
    return evidence.check(found, [watch.trusted])


async def test_a_twin_that_keeps_growing_is_one_fork_which_is_brought_up_to_date(site, watch):
    twin = site.writer.twin()
    site.post(40)
    site.publish()
    await watch.poll()
    ours = claimed_checkpoint(site.checkpoint)
    sizes = []
    # From fewer entries than the copy has, over as many, to more than two tiles.
    for number in range(24):
        grow(twin, 1 if number < 10 else 16)
        site.publish(twin)
        sizes.append(len(twin.leaves))
        for _ in range(2):
            await watch.poll()
        assert watch.alarms() == {"fork"}
        assert watch.monitor.alarms.count("fork") == 1
        (told,) = watch.monitor.alarms.details("fork").values()
        assert (
            told == f"the log signed another history, of {sizes[-1]} entries: evidence/fork-1.json"
        )
        found = evidence.read_file(watch.data / "evidence/fork-1.json")
        assert claimed_checkpoint(found.theirs.encode()).size == sizes[-1]
        assert claimed_checkpoint(found.ours.encode()) == ours
        assert holds(watch, "fork-1").conclusion == "good"
    assert sizes[0] < ours.size < sizes[14]
    assert sizes[-1] > 400
    assert [line for line in watch.lines if "alarm" in line] == [
        line for line in watch.lines if line.get("alarm") == "fork"
    ]
    assert watch.said("fork") == ["on"]
    # What was fetched of it before is not fetched again.
    site.fetched()
    grow(twin, 1)
    site.publish(twin)
    await watch.poll()
    assert "tile/0/000" not in site.fetched()
    watch.restart()
    assert watch.monitor.alarms.details("fork").popitem()[1].endswith("fork-1.json")
    site.publish()
    await watch.poll()
    assert watch.alarms() == {"fork"}


async def test_each_branch_has_an_alarm_of_its_own_whichever_is_shown(site, watch):
    twins = [site.writer.twin(), site.writer.twin()]
    site.post(3)
    site.publish()
    await watch.poll()
    for number in range(8):
        for name, twin in zip("AB", twins, strict=True):
            for part in range(3):
                twin.contract(f"{name}{number}-{part}")
            site.publish(twin)
            await watch.poll()
    assert watch.said("fork") == ["on", "on"]
    assert len(watch.monitor.alarms.details("fork")) == 2
    assert {holds(watch, f"fork-{number}").conclusion for number in (1, 2)} == {"good"}
    # A branch that is rolled back is the same branch, and its newest checkpoint stays.
    shorter = twins[0].twin()
    twins[0].contract("later")
    site.publish(twins[0])
    await watch.poll()
    site.publish(shorter)
    await watch.poll()
    assert watch.said("fork") == ["on", "on"]
    newest = evidence.read_file(watch.data / "evidence/fork-1.json")
    assert claimed_checkpoint(newest.theirs.encode()).size == len(twins[0].leaves)
    assert not (watch.data / "evidence/new").exists()


async def test_a_rollback_goes_off_when_it_shows_to_be_a_fork(site, watch):
    twin = site.writer.twin()
    site.post(3)
    site.publish()
    await watch.poll()
    site.publish(twin)
    await watch.poll()
    assert watch.alarms() == {"rollback"}
    for number in range(30):
        twin.contract(f"T{number}")
        site.publish(twin)
        await watch.poll()
        assert watch.alarms() == {"fork"}
    assert watch.said("rollback") == ["on", "off"]
    assert watch.said("damage") == []


async def test_a_checkpoint_of_no_entries_with_a_wrong_root_is_no_fork(site, watch):
    text = Checkpoint(site.writer.signer.name, 0, bytes(32)).format()
    honest = site.checkpoint
    for told in ("the checkpoint of no entries has a root that no tree has", "not_signed"):
        (site.folder / "checkpoint").write_bytes(sign(text, site.writer.signer))
        await watch.poll()
        assert watch.alarms() == {"untrusted"}
        assert watch.detail("untrusted").startswith(told)
        (site.folder / "checkpoint").write_bytes(honest)
        await watch.poll()
        assert watch.alarms() == set()
    assert list((watch.data / "evidence").iterdir()) == []


async def test_tiles_of_another_branch_that_were_left_behind_do_no_harm(site, watch):
    await watch.poll()
    twin = site.writer.twin()
    site.post(90)
    site.publish()
    shutil.copytree(site.folder, watch.data / "new")
    site.writer = twin
    site.post(90)
    site.publish()
    watch.restart()
    await watch.poll()
    assert watch.monitor.following.judged == site.size
    assert watch.alarms() == set()
    assert verify(watch.data / "log", site.writer.verifier, Audit()).ok


async def test_a_rollback_is_an_alarm_until_the_log_is_whole_again(site, watch):
    shorter = site.writer.twin()
    site.post(3)
    site.publish()
    await watch.poll()
    site.publish(shorter)
    await watch.poll()
    await watch.poll()
    assert watch.alarms() == {"rollback"}
    assert f"had {site.size} entries" in watch.detail("rollback")
    (path,) = (watch.data / "evidence").iterdir()
    found = evidence.read_file(path)
    assert found.kind == "rollback"
    assert claimed_checkpoint(found.theirs.encode()).size == len(shorter.leaves)
    assert claimed_checkpoint(found.ours.encode()).size == site.size
    assert holds(watch, path.stem).conclusion == "not_checked"
    watch.restart()
    await watch.poll()
    assert watch.alarms() == {"rollback"}
    site.publish()
    await watch.poll()
    assert watch.alarms() == set()
    assert watch.said("rollback") == ["on", "on", "off"]


async def test_a_fork_behind_damage_is_found_a_while_later(site, watch):
    twin = site.writer.twin()
    site.post(70)
    site.publish()
    await watch.poll()
    size, site.writer = site.size, twin
    site.post(95)
    site.publish()
    (path,) = site.folder.glob("tile/0/001.p/*")
    honest = path.read_bytes()
    path.write_bytes(bytes(len(honest)))
    await watch.poll()
    assert watch.alarms() == {"damage"}
    path.write_bytes(honest)
    await watch.poll()
    # To fetch all hashes again and again would be a burden.
    assert watch.alarms() == {"damage"}
    watch.now += 600
    await watch.poll()
    assert watch.alarms() == {"fork"}
    assert watch.monitor.size == size
