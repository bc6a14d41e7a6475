"""The simulated provider is honest: it reports the work of its cards, and the service agrees."""

from collections import defaultdict
from dataclasses import replace
from itertools import pairwise

import pytest

from meter import client
from meter.agent.simulate import MILLI_PER_NODE, Cluster, Rental, simulated_key
from meter.client import Stream
from meter.rules.entries import RecordVoided, UsageAccepted
from meter.values.units import DAY_SECONDS, parse_instant
from meter.wire.batch import Batch, Record
from meter.wire.receipt import Accepted
from tests.books import DEVICE, signer
from tests.services import ORIGIN, contract_body, receipt_key, serving

NOON = "2025-03-01T12:00:00+08:00"
BEGINS = parse_instant(NOON)
HOUR = 3600
NODES = 12
RENTALS = (
    Rental("A", DEVICE, 8, BEGINS, BEGINS + 4 * DAY_SECONDS),
    Rental("B", DEVICE, 2, BEGINS + DAY_SECONDS, BEGINS + 3 * DAY_SECONDS),
    Rental("C", DEVICE, 8, BEGINS, BEGINS + 2 * DAY_SECONDS),
)


def cluster(seed: int = 7, rentals=RENTALS) -> Cluster:
    stream = Stream(ORIGIN, 64 * "0", "pcl", "main", "pcl-1", signer("pcl-1"))
    return Cluster(seed=seed, stream=stream, nodes=NODES, rentals=rentals, clock=BEGINS)


def run(provider: Cluster, step: int = HOUR) -> list[Batch]:
    """Run the provider to its end, with a report after each step."""
    batches = []
    while not provider.idle:
        provider.run_until(provider.clock + step)
        batches.append(provider.report())
    return batches


def records(batches: list[Batch]) -> list[Record]:
    return [record for batch in batches for record in batch.records]


def by_run(batches: list[Batch]) -> dict[str, list[Record]]:
    found = defaultdict(list)
    for record in records(batches):
        found[record.run].append(record)
    return found


def device_time(used: list[Record]) -> dict[str, int]:
    sums = {rental.contract: 0 for rental in RENTALS}
    for record in used:
        sums[record.contract] += record.milli_devices * (record.end - record.start)
    return sums


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others():
    first, second, other = ([client.payload_of(b) for b in run(cluster(s))] for s in (7, 7, 8))
    assert first == second
    assert first != other
    assert client.public_text(simulated_key(7)) == client.public_text(simulated_key(7))
    assert client.public_text(simulated_key(7)) != client.public_text(simulated_key(8))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("step", [600, HOUR, 5 * HOUR + 1, DAY_SECONDS])
def test_the_slices_of_a_job_are_contiguous_and_only_the_last_is_final(seed, step):
    runs = by_run(run(cluster(seed), step))
    assert len(runs) > 10
    for slices in runs.values():
        assert [record.id for record in slices] == [
            f"{slices[0].run}:{index}" for index in range(len(slices))
        ]
        assert all(first.end == second.start for first, second in pairwise(slices))
        assert all(record.start < record.end for record in slices)
        assert [record.final for record in slices] == [False] * (len(slices) - 1) + [True]
        assert {record.state for record in slices[:-1]} <= {"RUNNING"}
        assert slices[-1].state != "RUNNING"
        assert len({(record.contract, record.milli_devices) for record in slices}) == 1


@pytest.mark.parametrize("step", [600, HOUR, 7 * DAY_SECONDS])
def test_how_often_it_reports_changes_nothing_but_the_slices(step):
    whole = {slices[0].run: slices[-1].end for slices in by_run(run(cluster(), 3 * HOUR)).values()}
    sliced = by_run(run(cluster(), step))
    assert {run: slices[-1].end for run, slices in sliced.items()} == whole


@pytest.mark.parametrize("seed", range(3))
def test_its_own_count_is_that_of_its_records_after_each_report(seed):
    provider, so_far = cluster(seed), []
    while not provider.idle:
        provider.run_until(provider.clock + HOUR)
        so_far += provider.report().records
        assert provider.device_time == device_time(so_far)
    assert min(provider.device_time.values()) > 0


@pytest.mark.parametrize("seed", range(3))
def test_no_card_works_twice_at_a_time(seed):
    changes = []
    for record in records(run(cluster(seed))):
        nodes = record.milli_devices // MILLI_PER_NODE
        changes += [(record.start, nodes, record.contract), (record.end, -nodes, record.contract)]
    in_use = dict.fromkeys(("all", "A", "B", "C"), 0)
    most = dict(in_use)
    for _, nodes, contract in sorted(changes):
        for name in ("all", contract):
            in_use[name] += nodes
            most[name] = max(most[name], in_use[name])
    assert most["all"] <= NODES
    assert all(most[rental.contract] <= rental.nodes for rental in RENTALS)
    assert most["all"] > 8, "the contracts do work side by side"


def test_jobs_begin_within_their_rental():
    for slices in by_run(run(cluster())).values():
        (rental,) = [each for each in RENTALS if each.contract == slices[0].contract]
        assert rental.start <= slices[0].start < rental.until


def test_batches_are_numbered_one_by_one_with_voids_among_them():
    provider = cluster()
    batches = run(provider)
    batches.append(provider.apply_void(provider.failed[:1], "node failed"))
    assert [batch.seq for batch in batches] == list(range(1, len(batches) + 1))


def test_a_void_leaves_its_own_count_too():
    provider = cluster()
    used = records(run(provider))
    failed = provider.failed[:2]
    assert {record.state for record in failed} == {"NODE_FAIL"}
    provider.apply_void(failed, "node failed, not charged")
    assert provider.device_time == device_time([each for each in used if each not in failed])


def test_a_cluster_without_work_is_idle_and_reports_nothing():
    late = [replace(RENTALS[0], until=BEGINS)]
    provider = cluster(rentals=late)
    provider.run_until(BEGINS + DAY_SECONDS)
    assert provider.idle
    assert provider.report().records == []


async def test_the_service_metered_what_the_cluster_counted(database, tmp_path):
    async with serving(database, tmp_path, NOON) as service:
        await service.open_books()
        for name in ("B", "C"):
            await service.ask("/v1/contracts", **contract_body(name))
        provider = cluster()
        provider.stream.genesis = service.intake.state.genesis_hash
        key = client.base64.b64encode(receipt_key(service)).decode()
        async with client.Service(service.url) as http:

            async def post(batch: Batch) -> None:
                receipt = await http.post_batch(provider.stream.sign(batch), key)
                results = receipt.receipt.voids + receipt.receipt.results
                assert all(isinstance(result, Accepted) for result in results)

            while not provider.idle:
                provider.run_until(provider.clock + HOUR)
                service.clock.advance(HOUR)
                await post(provider.report())
            await post(provider.apply_void(provider.failed[:2], "node failed, not charged"))
        entries = await service.entries()
        voided = {entry.record for entry in entries if isinstance(entry, RecordVoided)}
        metered = dict.fromkeys(provider.device_time, 0)
        for number, entry in enumerate(entries):
            if isinstance(entry, UsageAccepted) and number not in voided:
                metered[entry.contract] += entry.device_time
        assert len(voided) == 2
        assert metered == provider.device_time
