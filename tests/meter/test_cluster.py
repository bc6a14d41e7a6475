"""Several machines: one leads by its lease, all show the same, and nothing is lost or forked."""

import asyncio
import itertools
import os
import re
import signal
import time

import pytest

from meter.host.cluster import make_certificate
from meter.host.data_folder import DataFolder
from tests.books import lifted, record
from tests.clusters import HOST, Cluster, clustered, led
from tests.commands import elsewhere, kashi
from tests.fronts import Fronted
from tests.meter.test_fronts import Receipts, post_until_taken
from tests.services import HOUR, check_sums, until

# How many batches are posted while leaders change; a thousand take some minutes.
BATCHES = int(os.environ.get("KASHI_TEST_CLUSTER_BATCHES", "40"))
CHANGES = max(2, BATCHES // 50)
STREAMS = 4


async def test_followers_forward_to_the_leader_and_show_what_it_has_published(database, tmp_path):
    async with clustered(database, tmp_path, 2, 1) as cluster:
        leading = await cluster.leading()
        await cluster.is_ready()
        one, two = await cluster.following()
        await one.open_books(lifted())
        for seq, asked in enumerate([one, two, leading] * 3, 1):
            answer = await asked.usage([record(f"r{seq}", "A", *HOUR, 1_000)], seq=seq)
            assert answer.status == 200, answer.body
            for told in cluster.instances:
                assert (await told.balance())["granted"] == f"{seq * 225 / 100:.2f}"
        assert await cluster.in_step() > 9
        assert [len(led(each)) for each in cluster.instances].count(0) == 2
    await check_sums(database)


async def test_a_leader_that_was_stopped_and_wakes_can_commit_and_publish_nothing(
    database, tmp_path
):
    async with clustered(database, tmp_path) as cluster:
        first = await cluster.leading()
        await cluster.is_ready()
        await first.open_books(lifted())
        await cluster.in_step()
        (second,) = await cluster.following()
        os.kill(first.leader, signal.SIGSTOP)
        refused = await second.usage([record("r1", "A", *HOUR, 1)])
        assert (refused.status, refused.code) == (503, "unavailable")
        assert refused.headers["Retry-After"] == "1"
        await cluster.is_ready(second)
        assert await cluster.leading() is second
        assert (await second.usage([record("r1", "A", *HOUR, 1)])).status == 200
        os.kill(first.leader, signal.SIGCONT)

        async def has_noticed() -> bool:
            return first.lines("turn_ended") == 1

        await until(has_noticed)
        await cluster.is_ready()
        assert (await first.usage([record("r2", "A", *HOUR, 1)], seq=2)).status == 200
        await cluster.in_step()
    await check_sums(database)


async def test_doctor_looks_at_the_certificates_of_a_cluster_from_both_sides(database, tmp_path):
    async with clustered(database, tmp_path) as cluster:
        leading = await cluster.leading()
        await cluster.is_ready()
        (other,) = await cluster.following()
        address = (await cluster.holder()).partition("/")[0]
        taken = f"this machine and the leader at {address} take one another's certificates"
        assert [(f"{each}"[:5], taken in each) for each in await asked(other, "take one")] == [
            ("good ", True)
        ]
        (named,) = await asked(other, "to its cluster")
        assert re.match(rf"good   this machine, {HOST} to its cluster, has .* 7\d\d more", named)
        # Its authority is another's, under the same name: neither side takes the other.
        stranger = DataFolder(tmp_path / "stranger")
        stranger.path.mkdir(mode=0o700)
        make_certificate(stranger, stranger, HOST, int(time.time()))
        files = ("cluster.key", "cluster.pem", "cluster-ca.pem")
        ours = {name: (other.folder.path / name).read_bytes() for name in files}
        for name in files:
            (other.folder.path / name).write_bytes((stranger.path / name).read_bytes())
        (refused,) = await asked(other, "bad_certificate")
        said = f"WRONG  bad_certificate: the leader at {address}: CERTIFICATE_VERIFY_FAILED"
        assert refused == said
        # It trusts the leader, and the leader does not trust it.
        (other.folder.path / "cluster-ca.pem").write_bytes(ours["cluster-ca.pem"])
        spoilt, refused = await asked(other, "bad_certificate")
        assert "no machine takes cluster.pem" in spoilt
        assert f"the leader at {address}" in refused
        for name in files:
            (other.folder.path / name).write_bytes(ours[name])
        os.kill(leading.leader, signal.SIGSTOP)
        (silent,) = await asked(other, "leader at")
        assert silent.startswith("WRONG  unreachable: ")
        os.kill(leading.leader, signal.SIGCONT)


async def asked(instance: Fronted, words: str) -> list[str]:
    """What `kashi doctor` says of something, beside a running instance."""
    with elsewhere(instance.dsn):
        told = await asyncio.to_thread(kashi, "doctor", "--data", instance.folder.path)
    return [line for line in told.stdout.splitlines() if words in line]


@pytest.mark.long
async def test_batches_over_two_instances_while_leaders_change_are_verified_and_as_their_receipts(
    database, tmp_path
):
    async with clustered(database, tmp_path) as cluster:
        await cluster.is_ready()
        await cluster.instances[0].open_books(lifted())
        receipts = {}
        posting = [post_all(cluster, f"s{n}", receipts) for n in range(STREAMS)]
        await asyncio.gather(*posting, change_leaders(cluster, receipts))
        await cluster.is_ready()
        for (stream, seq), receipt in receipts.items():
            asked = cluster.instances[seq % 2]
            assert await post_until_taken(asked, seq, stream, one_of(stream, seq)) == receipt
        await cluster.in_step()
        assert sum(len(led(each)) for each in cluster.instances) > CHANGES
    state = await check_sums(database)
    assert len(state.records) == len(receipts) == STREAMS * (BATCHES // STREAMS)


def one_of(stream: str, seq: int) -> dict:
    return record(f"{stream}:{seq}", "A", *HOUR, 1)


async def post_all(cluster: Cluster, stream: str, receipts: Receipts) -> None:
    """Post to both instances in turn, each batch until it has a receipt."""
    for seq in range(1, BATCHES // STREAMS + 1):
        asked = cluster.instances[seq % 2]
        receipts[stream, seq] = await post_until_taken(asked, seq, stream, one_of(stream, seq))


async def change_leaders(cluster: Cluster, receipts: Receipts) -> None:
    """End turns of leaders between batches: one is stopped past its lease, the next one killed."""
    faults = itertools.cycle((signal.SIGSTOP, signal.SIGKILL))
    for change, fault in zip(range(1, CHANGES + 1), faults, strict=False):

        async def are_posted(count=change * BATCHES // (CHANGES + 1)) -> bool:
            return len(receipts) >= count

        await until(are_posted)
        pid, holder = (await cluster.leading()).leader, await cluster.holder()
        os.kill(pid, fault)
        await cluster.leading(after=holder)
        if fault == signal.SIGSTOP:
            os.kill(pid, signal.SIGCONT)
