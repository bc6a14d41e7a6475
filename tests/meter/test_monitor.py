"""`kashi monitor` against a web server with a ledger that grows, honestly or not."""

import os

import pytest

from ledger.book import Book
from ledger.cosign import Cosigner, add_cosignatures
from ledger.errors import CannotCheck
from ledger.files import DISK
from ledger.log import Log
from ledger.note import Checkpoint, Signer, claimed_checkpoint, sign
from ledger.quorum import TrustPolicy
from ledger.tlog import Frontier, leaf_hash
from ledger.verify import verify
from meter.auditor.alarms import MAX_KEPT, Alarm, Alarms
from meter.auditor.fetch import fetch
from meter.auditor.monitor import Interrupted, Monitor, Trust
from meter.auditor.replay import Audit
from meter.rules.entries import RecordVoided
from tests.books import ALPHA, PROGRAMME, record, void
from tests.monitoring import DAY_SECONDS, LIMITS, Watch, failing
from tests.services import coupon_body
from tests.sites import NOON, START
from tests.writer import with_receipt


async def test_a_log_that_grows_is_followed_and_judged_and_kept_whole(site, watch):
    for batches in (0, 1, 20, 0, 70, 90, 5):
        site.post(batches)
        site.publish()
        await watch.poll()
        assert watch.monitor.size == watch.monitor.following.judged == site.size
        assert watch.monitor.audit.state.size == site.size
        report = verify(watch.data / "log", site.writer.signer.verifier, Audit())
        assert report.ok, report.findings
        assert report.size == site.size
        followed = [line for line in watch.lines if line.get("event") == "followed"]
        root = claimed_checkpoint(site.checkpoint).root.hex()
        told = {"size": site.size, "judged": site.size, "root": root}
        assert {name: followed[-1].get(name) for name in told} == told
    assert watch.alarms() == set()
    assert site.size > 512
    # No more is kept than a log of that size has.
    held, shown = (
        {path.relative_to(root) for path in root.rglob("*") if path.is_file()}
        for root in (watch.data / "log", site.folder)
    )
    assert held == shown


async def test_records_of_the_same_part_and_of_earlier_ones_are_voided(site, watch):
    def post(records: list[str], voids: list[str]) -> None:
        new = [record(each, "A", START, START + 60, 1_000) for each in records]
        site.writer.post(new, [void(each) for each in voids], stream="voids")

    post(["x0"], [])
    for place in range(1, 5):
        post([f"x{place}", f"y{place}"], [f"x{place - 1}"])
        site.post(40)  # of three entries each, so that parts begin and end within tiles
        post([], [f"y{place}"])
        site.publish()
        await watch.poll()
        assert watch.alarms() == set()
        assert watch.monitor.following.judged == site.size
    voided = [each.id for each in site.writer.entries if isinstance(each, RecordVoided)]
    assert voided == ["x0", "y1", "x1", "y2", "x2", "y3", "x3", "y4"]
    watch.restart()
    assert watch.monitor.following.judged == site.size


async def test_each_question_is_told_once_and_is_no_alarm(site, watch):
    def told() -> list[str]:
        details = [line["detail"] for line in watch.lines if line.get("event") == "question"]
        return [each for each in details if "): pcl" in each]

    for _ in range(3):
        site.post(2)
        site.publish()
        await watch.poll()
    (repeated,) = told()
    assert "(repeated): pcl, contract A: entries 7, 8, 10" in repeated
    site.writer.freeze("A")
    site.writer.void("r1")
    site.publish()
    await watch.poll()
    await watch.poll()
    assert "(frozen_void): pcl, contract A: entries" in told()[1]
    assert len(told()) == 2
    assert watch.alarms() == set()


async def test_each_decision_is_told_once_and_a_recovered_person_is_an_alarm_for_ever(site, watch):
    def told() -> list[str]:
        details = [line["detail"] for line in watch.lines if line.get("event") == "question"]
        return [each for each in details if "): pcl" not in each]

    site.publish()
    await watch.poll()
    begun = len(told())
    assert told() == [
        "policy training-coupon 2024-12, by op: entry 1",
        "key pcl-1 of provider pcl, by op: entry 3",
    ]
    writer = site.writer
    writer.contract("LARGE", amount="4000000.00")
    writer.person("li")
    writer.token("li-1", "li")
    number = writer.propose("issue", "op-1", **coupon_body(2025, "1000000.01"))
    entry = writer.confirm(number, "li-1")
    writer.confirm(writer.propose("issue", "op-1", **coupon_body(2025, "1000000.00")), "li-1")
    site.publish()
    await watch.poll()
    await watch.poll()
    issued = f"issue of 1000000.01 to {ALPHA} for {PROGRAMME} 2025"
    assert told()[begun:] == [
        f"person li, by op: entry {number - 2}",
        f"token li-1 of person li, by op: entry {number - 1}",
        f"{issued}, by li, proposed by op: entry {entry}",
    ]
    assert watch.alarms() == set()
    writer.recover_person("zhao", "zhao-1")
    site.publish()
    await watch.poll()
    assert watch.alarms() == {"recovered"}
    (detail,) = watch.monitor.alarms.details("recovered").values()
    assert detail == f"token zhao-1 was made offline for person zhao: entry {entry + 3}"
    watch.restart()
    assert watch.alarms() == {"recovered"}


async def test_progress_counts_the_files_of_a_log_to_the_last(site, tmp_path):
    site.post(90)
    site.publish()
    told: list[tuple[int, int]] = []
    copy = tmp_path / "copy"
    copy.mkdir()
    await fetch(site.url, site.writer.verifier, copy, None, lambda *each: told.append(each))
    files = {file for file in copy.rglob("*") if file.is_file()} - {copy / "checkpoint"}
    assert (copy / "tile/1").is_dir()
    assert told == [(done, len(files)) for done in range(1, len(files) + 1)]


async def test_only_what_is_new_is_fetched(site, watch):
    site.post(100)
    site.publish()
    await watch.poll()
    old = site.fetched()
    assert old["tile/entries/000"] == 1
    await watch.poll()
    assert site.fetched() == {"checkpoint": 1}
    site.post()
    site.publish()
    await watch.poll()
    new = site.fetched()
    place, width = divmod(site.size, 256)
    edges = {f"{kind}/{place:03}.p/{width}" for kind in ("tile/entries", "tile/0", "batches")}
    assert set(new) == {"checkpoint", *edges}


async def test_a_restart_replays_the_copy_and_goes_on(site, watch):
    site.post(30)
    site.publish()
    await watch.poll()
    site.fetched()
    watch.restart()
    assert watch.monitor.size == watch.monitor.following.judged == site.size
    assert site.fetched() == {}
    site.post(5)
    site.publish()
    await watch.poll()
    assert watch.monitor.size == site.size
    assert not [path for path in site.fetched() if path.endswith("000")]
    assert watch.alarms() == set()


async def test_what_a_crash_leaves_does_not_matter(site, watch, monkeypatch):
    site.post(90)
    site.publish()
    await watch.poll()
    site.post(30)
    site.publish()
    with monkeypatch.context() as patch:
        # The disk fails at each step in turn, and the process ends.
        for name in ("sync_folder", "append", "rename"):
            patch.setattr(type(DISK), name, failing)
            await watch.poll()
            assert watch.alarms() == {"disk"}
            patch.undo()
            before = claimed_checkpoint((watch.data / "log/checkpoint").read_bytes()).size
            watch.restart()
            assert watch.monitor.size == before < site.size
    await watch.poll()
    assert watch.monitor.size == site.size
    assert verify(watch.data / "log", site.writer.signer.verifier, Audit()).ok
    assert watch.alarms() == set()


@pytest.mark.parametrize("name", ["sync_folder", "append", "rename"])
async def test_a_disk_that_cannot_be_written_is_an_alarm_and_each_look_tries_again(
    site, watch, monkeypatch, name
):
    site.post(90)
    site.publish()
    await watch.poll()
    old = watch.monitor.size
    for _ in range(3):
        site.post(30)
        site.publish()
        with monkeypatch.context() as patch:
            patch.setattr(type(DISK), name, failing)
            await watch.poll()
            assert watch.alarms() == {"disk"}
            assert watch.detail("disk") == "cannot write: the disk is gone"
            assert claimed_checkpoint((watch.data / "log/checkpoint").read_bytes()).size == old
    assert watch.said("disk") == ["on"]
    await watch.poll()
    assert watch.said("disk") == ["on", "off"]
    assert watch.alarms() == set()
    assert watch.monitor.size == watch.monitor.following.judged == site.size
    assert verify(watch.data / "log", site.writer.signer.verifier, Audit()).ok
    watch.restart()
    assert watch.monitor.size == site.size


async def test_a_disk_that_is_full_while_tiles_come_is_an_alarm_too(site, watch):
    await watch.poll()
    site.post(30)
    site.publish()
    (watch.data / "new").write_bytes(b"a file where a folder must be")
    await watch.poll()
    assert watch.alarms() == {"disk"}
    (watch.data / "new").unlink()
    await watch.poll()
    assert watch.alarms() == set()
    assert watch.monitor.size == site.size


async def test_one_missing_tile_in_a_growing_log_is_one_alarm_until_it_is_mended(site, watch):
    site.post(90)
    site.publish()
    await watch.poll()
    for _ in range(6):
        site.post(50)
        site.publish()
        (site.folder / "tile/0/001").unlink(missing_ok=True)
        for path in site.folder.glob("tile/0/001.p/*"):
            path.unlink()
        await watch.poll()
        assert watch.alarms() == {"damage"}
        assert watch.monitor.alarms.details("damage")[""].startswith(f"size {site.size}: ")
        watch.now += 700
    assert watch.said("damage") == ["on"]
    site.publish()
    await watch.poll()
    assert watch.said("damage") == ["on", "off"]
    assert watch.monitor.following.judged == site.size


async def test_a_monitor_that_is_stopped_ends_in_the_middle_of_a_part(site, watch):
    site.post(90)
    site.publish()
    watch.monitor.stop()
    with pytest.raises(Interrupted):
        await watch.poll()
    watch.restart()
    assert watch.monitor.size == 0
    await watch.poll()
    assert watch.monitor.following.judged == site.size


async def test_an_entry_that_breaks_a_rule_is_a_violation_for_ever(site, watch):
    site.post()
    site.publish()
    await watch.poll()

    def lie(receipt: dict) -> None:
        receipt["results"][0]["granted"] = "1.00"

    wrong = site.size
    site.writer.tell_batch = lambda decided: with_receipt(decided, lie)
    site.post()
    site.writer.tell_batch = lambda decided: decided
    site.publish()
    await watch.poll()
    assert watch.alarms() == {"violation"}
    assert watch.detail("violation").startswith(f"entry {wrong}: wrong_receipt")
    # It is still followed, so that a fork is found; but nothing more of it is judged.
    site.post()
    site.publish()
    await watch.poll()
    assert (watch.monitor.size, watch.monitor.following.judged) == (site.size, wrong)
    watch.restart()
    assert watch.alarms() == {"violation"}
    assert watch.said("violation") == ["on", "on"]
    (watch.data / "alarms.json").unlink()
    watch.restart()
    assert watch.alarms() == {"violation"}


@pytest.mark.parametrize("kind", ["batch", "state_digest", "other"])
async def test_an_entry_too_deep_to_be_read_is_a_violation(site, watch, kind):
    deep = b"[" * 20_000 + b"]" * 20_000
    wrong = site.size
    site.writer.leaves.append(b'{"kind":"%s","z":%s}' % (kind.encode(), deep))
    site.writer.log = Log(Frontier.over(b"".join(map(leaf_hash, site.writer.leaves))), Book(()), 0)
    site.publish()
    await watch.poll()
    assert watch.alarms() == {"violation"}
    assert watch.detail("violation").startswith(f"entry {wrong}: not_canonical")


@pytest.mark.parametrize("name", ["tile/0/001.p/*", "tile/entries/001.p/*", "tile/1/000.p/*"])
async def test_a_tile_replaced_is_damage_until_it_is_mended(site, watch, name):
    site.post(30)
    site.publish()
    await watch.poll()
    followed = watch.monitor.size
    site.post(80)
    site.publish()
    (path,) = site.folder.glob(name)
    honest = path.read_bytes()
    path.write_bytes(honest[:-1] + bytes([honest[-1] ^ 1]))
    await watch.poll()
    await watch.poll()
    assert watch.alarms() == {"damage"}
    assert watch.monitor.size == followed
    assert list((watch.data / "evidence").iterdir()) == []
    path.write_bytes(honest)
    await watch.poll()
    assert watch.alarms() == set()
    assert watch.said("damage") == ["on", "off"]
    assert watch.monitor.following.judged == site.size


async def test_a_signed_size_of_which_there_are_no_tiles_is_damage_at_once(site, watch):
    await watch.poll()
    for size in (site.size + 1, 2**40, 2**62):
        text = Checkpoint(site.writer.signer.name, size, bytes(32)).format()
        (site.folder / "checkpoint").write_bytes(sign(text, site.writer.signer))
        site.fetched()
        await watch.poll()
        assert watch.alarms() == {"damage"}
        assert site.fetched().total() < 100


@pytest.mark.parametrize("damage", ["changed", "cut", "gone"])
async def test_an_envelope_that_came_damaged_is_no_violation(site, watch, damage):
    site.post(3)
    site.publish()
    (path,) = (site.folder / "batches").rglob("*.p/*")
    honest = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(honest.replace(b"payload", b"Payload", 1)[: -(damage == "cut") or None])
    await watch.poll()
    assert watch.alarms() == {"damage"}
    path.write_bytes(honest)
    await watch.poll()
    assert watch.alarms() == set()
    assert watch.monitor.following.judged == site.size


@pytest.mark.parametrize("skew_seconds", [0, 400 * DAY_SECONDS, -400 * DAY_SECONDS])
async def test_a_gap_is_an_alarm_when_it_is_old_whatever_the_two_clocks_say(
    site, watch, skew_seconds
):
    watch.now += skew_seconds
    watch.restart()
    site.post(1)
    site.post(1, seq=4)
    site.publish()
    await watch.poll()
    assert watch.alarms() == set()
    # The log does not grow: only our clock can tell how long that is.
    watch.now += DAY_SECONDS
    await watch.poll()
    assert "gap" not in watch.alarms()
    watch.now += 3600
    site.writer.at("2025-03-02T13:00:00+08:00")
    site.post(1, seq=9)
    site.publish()
    await watch.poll()
    # The numbers 5 to 8 are missing only since now, by the log's own clock.
    assert watch.alarms() == {"gap"}
    assert watch.detail("gap").startswith("pcl, stream main: no batches 2 to 3 since 2025-03-01")
    site.post(1, seq=2)
    site.publish()
    await watch.poll()
    assert watch.detail("gap").startswith("pcl, stream main: no batches 3 to 3")
    site.post(1, seq=3)
    site.publish()
    await watch.poll()
    assert watch.alarms() == set()


async def test_a_gap_of_a_log_that_rests_is_an_alarm_in_time(site, watch):
    site.post(1, seq=2)
    site.publish()
    await watch.poll()
    watch.now += DAY_SECONDS + 1
    await watch.poll()
    assert watch.alarms() == {"gap", "silence"}


async def test_silence_is_an_alarm_whether_the_log_answers_or_not(site, watch):
    await watch.poll()
    watch.now += 3600
    await watch.poll()
    assert watch.alarms() == set()
    watch.now += 1
    await watch.poll()
    assert watch.alarms() == {"silence"}
    site.post()
    site.publish()
    await watch.poll()
    assert watch.alarms() == set()
    (site.folder / "checkpoint").unlink()
    watch.now += 3601
    await watch.poll()
    assert watch.alarms() == {"silence"}
    assert watch.monitor.polls == {"answered": 4, "failed": 1}


async def test_silence_is_counted_over_a_restart(watch):
    await watch.poll()
    stored = watch.data / "log/checkpoint"
    os.utime(stored, (NOON, NOON))
    watch.now += 3601
    watch.restart()
    await watch.poll()
    assert watch.alarms() == {"silence"}


async def test_a_checkpoint_that_others_signed_is_not_trusted(site, watch):
    await watch.poll()
    honest = site.checkpoint
    text = claimed_checkpoint(honest).format()
    stranger = Signer.from_seed(site.writer.signer.name, bytes(32))
    for note in (b"nonsense", sign(text, stranger), honest.replace(b"\n", b"\r\n")):
        (site.folder / "checkpoint").write_bytes(note)
        await watch.poll()
        assert watch.alarms() == {"untrusted"}
    (site.folder / "checkpoint").write_bytes(honest)
    await watch.poll()
    assert watch.alarms() == set()


async def test_without_enough_witnesses_nothing_is_followed(site, tmp_path):
    witness = Cosigner.from_seed("witness.test/w", bytes(range(32)))
    vkey = site.writer.signer.verifier.format()
    policy = f"log {vkey}\nwitness w {witness.verifier.format()}\nquorum w\n"
    watch = Watch(site, tmp_path / "data", TrustPolicy.parse(policy))
    await watch.poll()
    assert watch.alarms() == {"untrusted"}
    assert "not_witnessed" in watch.detail("untrusted")
    assert watch.monitor.size == 0
    text = site.checkpoint.decode().partition("\n\n")[0] + "\n"
    note = add_cosignatures(site.checkpoint, [witness.cosign(text, NOON)])
    (site.folder / "checkpoint").write_bytes(note)
    await watch.poll()
    assert watch.alarms() == set()
    assert watch.monitor.size == site.size
    watch.monitor.close()


async def test_a_log_is_followed_from_one_key_to_the_next(site, watch):
    """The key that was trusted first may be retired long ago."""
    for step in (site.post, site.writer.add_log_key, site.post, site.writer.retire_log_key):
        step()
        site.publish()
        await watch.poll()
        assert watch.monitor.following.judged == site.size
    assert site.writer.verifier != site.writer.signer.verifier
    watch.restart()
    site.post()
    site.publish()
    await watch.poll()
    assert watch.monitor.following.judged == site.size
    assert watch.alarms() == set()
    # A retired key signs nothing any more, and proves no fork.
    text = claimed_checkpoint(site.checkpoint).format()
    (site.folder / "checkpoint").write_bytes(sign(text, site.writer.signer))
    await watch.poll()
    assert watch.alarms() == {"untrusted"}


async def test_who_missed_the_change_of_keys_goes_on_with_the_new_one(site, watch):
    await watch.poll()
    site.writer.add_log_key()
    site.writer.retire_log_key()
    site.publish()
    await watch.poll()
    assert watch.alarms() == {"untrusted"}
    watch.trusted = site.writer.verifier
    watch.restart()
    await watch.poll()
    assert watch.monitor.following.judged == site.size
    assert watch.alarms() == set()


async def test_a_key_that_the_log_does_not_name_is_a_violation(site, watch):
    stranger = Signer.from_seed(site.writer.signer.name, bytes(32))
    note = sign(claimed_checkpoint(site.checkpoint).format(), stranger)
    (site.folder / "checkpoint").write_bytes(note)
    watch.trusted = stranger.verifier
    watch.restart()
    await watch.poll()
    assert watch.alarms() == {"violation"}
    assert "wrong_log_key" in watch.detail("violation")


async def test_a_damaged_copy_or_one_of_another_log_or_in_use_is_refused(site, watch):
    site.post(3)
    site.publish()
    await watch.poll()
    with pytest.raises(CannotCheck, match="another monitor"):
        Monitor(watch.data, Trust(site.writer.signer.verifier), LIMITS, print)
    (path,) = (watch.data / "log/tile/entries").rglob("*.p/*")
    honest = path.read_bytes()
    path.write_bytes(honest[:-1] + b"!")
    with pytest.raises(CannotCheck, match="fetch the log anew"):
        watch.restart()
    path.write_bytes(honest)
    watch.monitor.close()
    stranger = Signer.from_seed("kashi.test/stranger", bytes(32))
    watch.monitor = Monitor(watch.data, Trust(stranger.verifier), LIMITS, print)
    with pytest.raises(CannotCheck, match="another log"):
        watch.monitor.start()


def test_so_many_lasting_alarms_are_kept_and_no_more(tmp_path):
    said: list[dict] = []
    alarms = Alarms(tmp_path / "alarms.json", said.append, lambda: NOON)
    for number in [*range(MAX_KEPT + 5), 0]:
        alarms.keep(Alarm("violation", str(number), "told"))
    alarms.save()
    assert alarms.count("violation") == len(said) == MAX_KEPT
    again = Alarms(tmp_path / "alarms.json", said.append, lambda: NOON)
    assert again.count("violation") == MAX_KEPT
