"""The recorded load: the actors, and what each of them sends, step by step.

Each actor is an endless iterator of steps; the same seed gives the same bytes. An actor goes on
only when its last step was answered, so steps that need an order are all of one actor:

    reporters   the clusters of three providers, two streams each: every half hour of made-up time
                a slice of each job, now and then a void or a record sent twice
    officer     the authority: issues, withdraws, freezes, releases, voids, registers; the records
                that it judges come from a provider's stream of its own

One enterprise, `SHORT`, has contracts with all providers and a coupon that runs out. The share of
each contract depends on the order of arrival, the sum of the shares does not.
"""

import itertools
import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from meter.agent.simulate import Cluster, Rental, simulated_key
from meter.client import Stream, registration
from meter.values.strict import Instant
from meter.values.units import parse_instant
from meter.values.uscc import check_character
from meter.wire.batch import Batch, Record

ORIGIN = "kashi.test/faults"
NOW = "2026-01-12T12:00:00+08:00"  # where the service's clock begins
BEGIN = parse_instant("2025-12-18T00:00:00+08:00")  # of the usage, which runs across a year's edge
SLICE_SECONDS = 1_800
DEVICE = "ascend-910b"
PROGRAMME = "training-coupon"
PROVIDERS = ("pcl", "nscc", "cloudlab")
STREAMS = ("first", "second")
VOID_EVERY = 5  # steps of a reporter
REPEAT_EVERY = 7


@dataclass(frozen=True)
class Post:
    """A signed batch."""

    envelope: bytes
    batch: Batch

    @property
    def id(self) -> tuple[str, str, int]:
        return self.batch.provider, self.batch.stream, self.batch.seq


@dataclass(frozen=True)
class Command:
    """A request of the authority under an idempotency key."""

    path: str
    body: Mapping[str, Any]
    key: str


Step = Post | Command


class Load:
    """The actors of one seed; `opening` is to be done before they begin.

    A thousand steps of each are some two weeks of made-up time, more than one ledger gets: their
    usage must not reach `NOW`.
    """

    def __init__(self, seed: int) -> None:
        names = list(itertools.product(PROVIDERS, STREAMS))
        self._clusters = [
            _cluster(seed * 100 + number, provider, stream)
            for number, (provider, stream) in enumerate(names)
        ]
        self.actors: list[Iterator[Step]] = [
            _reporter(cluster, random.Random(seed * 100 + number))
            for number, cluster in enumerate(self._clusters)
        ]
        self.actors.append(_officer())

    def device_time(self) -> dict[str, int]:
        """Return the clusters' own count: thousandths × seconds by contract."""
        return {
            contract: time
            for cluster in self._clusters
            for contract, time in cluster.device_time.items()
        }

    @staticmethod
    def opening() -> list[Command]:
        """Return the commands that register all parties."""
        commands = [("/v1/policies", {"programme": PROGRAMME, "version": "2024-12"})]
        commands += [("/v1/providers", _provider(number)) for number in range(len(PROVIDERS))]
        commands += [
            (f"/v1/providers/{provider}/keys", _key(number))
            for number, provider in enumerate(PROVIDERS)
        ]
        commands += [("/v1/enterprises", _enterprise(uscc)) for uscc in (SHORT, WIDE, DESK)]
        commands += [
            ("/v1/contracts", _contract(f"{provider}-{stream}-{tail}", provider, uscc, amount))
            for provider, stream in itertools.product(PROVIDERS, STREAMS)
            for tail, uscc, amount in (("a", SHORT, "1000000.00"), ("b", WIDE, "500000.00"))
        ]
        # A contract whose own amount runs out, and the officer's, which rents eight cards.
        commands += [
            ("/v1/contracts", _contract("pcl-first-c", "pcl", WIDE, "2000.00")),
            ("/v1/contracts", _contract("desk", "pcl", DESK, "600000.00", rented=8)),
        ]
        commands += [
            ("/v1/coupons", _coupon(uscc, year, amount))
            for uscc, amount in ((SHORT, "2000.00"), (WIDE, "400000.00"), (DESK, "1000.00"))
            for year in (2025, 2026)
        ]
        return [Command(*each, f"open-{number}") for number, each in enumerate(commands)]


def _reporter(cluster: Cluster, random_: random.Random) -> Iterator[Step]:
    """Report slice by slice; now and then void one, or send one again."""
    reported: list[Record] = []
    for number in itertools.count(1):
        if number % VOID_EVERY == 0 and reported:
            record = reported.pop(random_.randrange(len(reported)))
            batch = cluster.apply_void([record], "node failed, not charged")
        elif number % REPEAT_EVERY == 0 and reported:
            batch = cluster.stream.next_batch([random_.choice(reported)])
        else:
            cluster.run_until(cluster.clock + SLICE_SECONDS)
            batch = _named(cluster.report())
            reported += batch.records
        yield _post(cluster.stream, batch)


def _named(batch: Batch) -> Batch:
    """Put the stream into the ids of jobs, so that two clusters of one provider differ."""
    records = [replace(each, id=f"{batch.stream}/{each.id}") for each in batch.records]
    return replace(batch, records=records)


def _officer() -> Iterator[Step]:
    """Do all that an authority can do to money, contracts and records, in rounds of 12."""
    stream = _stream("pcl", "desk")
    for number in itertools.count():
        hour = BEGIN + number * 2 * 3600
        whole = _record(f"desk:{number}:whole", 8_000, hour, hour + 3600)
        beyond = _record(f"desk:{number}:beyond", 4_000, hour + 1800, hour + 3600)
        later = _record(f"desk:{number}:later", 8_000, hour + 3600, hour + 7200)
        firm = uscc_of(100 + number)
        steps: list[tuple[str, Mapping[str, Any]] | Post] = [
            ("/v1/coupons", _coupon(SHORT, 2026, "100.00")),
            ("/v1/coupons", _coupon(DESK, 2025, "50.00")),
            _post(stream, stream.next_batch([whole, beyond])),
            ("/v1/contracts/desk/freeze", {}),
            _post(stream, stream.next_batch([later])),
            ("/v1/contracts/desk/unfreeze", {}),
            _post(stream, stream.next_batch([later, whole])),
            ("/v1/records/release", _judgement(beyond)),
            ("/v1/records/void", _judgement(whole)),
            ("/v1/coupons/withdraw", _coupon(DESK, 2025, "10.00")),
            ("/v1/enterprises", _enterprise(firm)),
            ("/v1/contracts", _contract(f"new-{number}", "nscc", firm, "10000.00")),
        ]
        for place, step in enumerate(steps):
            yield step if isinstance(step, Post) else Command(*step, f"desk-{number}-{place}")


def _post(stream: Stream, batch: Batch) -> Post:
    return Post(stream.sign(batch), batch)


def _cluster(seed: int, provider: str, name: str) -> Cluster:
    tails = "abc" if (provider, name) == ("pcl", "first") else "ab"
    return Cluster(
        seed=seed,
        stream=_stream(provider, name),
        nodes=8,
        rentals=[
            Rental(f"{provider}-{name}-{tail}", DEVICE, 4, BEGIN, parse_instant(NOW))
            for tail in tails
        ],
        clock=BEGIN,
    )


def _stream(provider: str, name: str) -> Stream:
    # Without the genesis, so that the very same bytes can be sent to a ledger without faults.
    key = simulated_key(PROVIDERS.index(provider))
    return Stream(ORIGIN, None, provider, name, f"{provider}-1", key)


def _record(id_: str, milli_devices: int, start: int, end: int) -> Record:
    period = Instant(start), Instant(end)
    return Record(id_, "desk", DEVICE, milli_devices, *period, run=id_, final=True)


# Bodies of the authority's requests


def uscc_of(number: int) -> str:
    body = f"91440300MA5K{number:05d}"
    return body + check_character(body)


SHORT, WIDE, DESK = (uscc_of(number) for number in (11, 12, 13))


def _provider(number: int) -> Mapping[str, Any]:
    return {
        "id": PROVIDERS[number],
        "uscc": uscc_of(number),
        "name": f"算力中心{number}",
        "devices": {DEVICE: 4_096},
        "enlisted": {"batch": "2025-1", "from": "2025-01-01", "until": "2027-01-01"},
    }


def _key(number: int) -> Mapping[str, Any]:
    provider = PROVIDERS[number]
    return registration(simulated_key(number), ORIGIN, provider, f"{provider}-1")


def _enterprise(uscc: str) -> Mapping[str, Any]:
    return {
        "uscc": uscc,
        "name": f"公司{uscc[-6:]}",
        "kind": "enterprise",
        "founded_on": "2019-04-01",
    }


def _contract(
    name: str, provider: str, uscc: str, amount: str, rented: int | None = None
) -> Mapping[str, Any]:
    return {
        "id": name,
        "contract_no": f"HT-{name}",
        "programme": PROGRAMME,
        "enterprise": uscc,
        "provider": provider,
        "amount": amount,
        "signed_on": "2025-12-01",
        "from": "2025-12-01",
        "until": "2026-12-01",
        "use": "training",
        "prices": {DEVICE: "4.50"},
        "max_devices": {} if rented is None else {DEVICE: rented},
        "related_party": False,
    }


def _coupon(uscc: str, year: int, amount: str) -> Mapping[str, Any]:
    return {"programme": PROGRAMME, "enterprise": uscc, "year": year, "amount": amount}


def _judgement(record: Record) -> Mapping[str, Any]:
    return {"provider": "pcl", "id": record.id, "reason": "the desk looked at it"}


def taken(actors: Iterable[Iterator[Step]], count: int) -> list[list[Step]]:
    """Take the next steps of each actor."""
    return [list(itertools.islice(actor, count)) for actor in actors]
