"""The workload of the benchmark: twenty contracts at three providers, and endless records.

A provider runs 500 jobs at a time for thirty days; each hour every job reports the slice of that
hour, so one hour is one batch of 500. A job lasts twelve hours and keeps its contract and its
cards. After thirty days the same days come again with new jobs: the ledger grows, its days do not.

    slurm:4217:3   TC-2025-0004   ascend-910b   64000   2025-06-01T15:00 to 16:00   RUNNING

Some coupons last, some run out, one contract has rented too little: what it uses beyond is
withheld. The same call gives the same records.
"""

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any, NamedTuple

from meter.client import registration
from meter.values.units import DAY_SECONDS, format_instant, parse_instant
from meter.wire.dsse import BATCH_TYPE, seal
from tests.books import PROGRAMME, signer, uscc_of

ORIGIN = "kashi.example/bench"
NOW = "2025-06-30T12:00:00+08:00"
YEAR = 2025

DEVICES = ("ascend-910b", "ascend-910c")
PRICES = dict(zip(DEVICES, ("4.50", "6.80"), strict=True))
CARDS = (8, 8, 8, 16, 16, 32, 64, 128, 256, 512)

DAYS = 30
HOUR_SECONDS = 3600
BEGINS = parse_instant(NOW) - DAYS * DAY_SECONDS
JOBS = 500
JOB_HOURS = 12
FIRST_JOB = 4_200

PROVIDERS = ("pcl", "bay-hpc", "luohu")
ENLISTED = 5_000_000  # of each kind: even after millions of records, what is enlisted suffices
# How often each of the contracts has a job; the last enterprise's coupon outlasts the others'.
WEIGHTS = (40, 30, 25, 20, 15, 12, 10, 8, 6, 5, 4, 4, 3, 3, 2, 2, 1, 1, 1, 1)
CONTRACTS_PER_ENTERPRISE = 3
RENTED_TOO_LITTLE = 18
COUPONS = ("10000000.00", "10000000.00", "200000.00", "500000.00", "10000000.00", "10000000.00")


class Shape(NamedTuple):
    """The fields of a job that are the same in all its slices."""

    contract: str
    device: str
    milli_devices: int


class Slice(NamedTuple):
    """One hour of one job: its number in the day's cycle of hours is `hour`."""

    job: int
    number: int
    hour: int
    shape: Shape

    @property
    def id(self) -> str:
        return f"slurm:{self.job}:{self.number}"

    @property
    def state(self) -> str:
        return "COMPLETED" if self.final else "RUNNING"

    @property
    def final(self) -> bool:
        return self.number == JOB_HOURS - 1

    @property
    def start(self) -> int:
        """Seconds since 1970 UTC."""
        return BEGINS + self.hour * HOUR_SECONDS


@dataclass(frozen=True)
class Envelope:
    """A signed batch, and the number of its records."""

    data: bytes
    records: int


def contract_id(number: int) -> str:
    return f"TC-2025-{number + 1:04}"


def provider_of(number: int) -> str:
    return PROVIDERS[number % len(PROVIDERS)]


def enterprise_of(number: int) -> str:
    return uscc_of(100 + number // CONTRACTS_PER_ENTERPRISE)


def commands() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the authority's commands that open the books: URL and body."""
    yield from rules_and_providers()
    for number in range(0, len(WEIGHTS), CONTRACTS_PER_ENTERPRISE):
        yield "/v1/enterprises", _enterprise(number)
    for number in range(len(WEIGHTS)):
        yield "/v1/contracts", _contract(number)
    for number, amount in enumerate(COUPONS):
        yield "/v1/coupons", coupon(enterprise_of(number * CONTRACTS_PER_ENTERPRISE), amount)
    lasting = enterprise_of(len(WEIGHTS) - 1)
    yield "/v1/coupons", coupon(lasting, "10000000.00")


def rules_and_providers() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the commands that any books begin with."""
    yield "/v1/policies", {"programme": PROGRAMME, "version": "2024-12"}
    for number, provider in enumerate(PROVIDERS):
        yield "/v1/providers", _provider(number, provider)
        keyid = keyid_of(provider)
        body = registration(signer(keyid), ORIGIN, provider, keyid)
        yield f"/v1/providers/{provider}/keys", body


def keyid_of(provider: str) -> str:
    return f"{provider}-2025a"


def coupon(enterprise: str, amount: str) -> dict[str, Any]:
    return {"programme": PROGRAMME, "enterprise": enterprise, "year": YEAR, "amount": amount}


def _provider(number: int, provider: str) -> dict[str, Any]:
    return {
        "id": provider,
        "uscc": uscc_of(10 + number),
        "name": f"算力服务商 {number + 1}",
        "devices": dict.fromkeys(DEVICES, ENLISTED),
        "enlisted": {"batch": "2025-1", "from": "2025-01-01", "until": "2027-01-01"},
    }


def _enterprise(number: int) -> dict[str, Any]:
    startup = number % 2 == 1
    return {
        "uscc": enterprise_of(number),
        "name": f"深圳第{number // CONTRACTS_PER_ENTERPRISE + 1}智能科技有限公司",
        "kind": "enterprise",
        "founded_on": "2024-09-01" if startup else "2017-04-01",
    }


def _contract(number: int) -> dict[str, Any]:
    rented = {"max_devices": dict.fromkeys(DEVICES, ENLISTED)} if number % 2 else {}
    if number == RENTED_TOO_LITTLE:
        rented = {"max_devices": dict.fromkeys(DEVICES, 512)}
    return {
        "id": contract_id(number),
        "contract_no": f"HT-{number}",
        "programme": PROGRAMME,
        "enterprise": enterprise_of(number),
        "provider": provider_of(number),
        "amount": "3000000.00" if number % 5 == 4 else "60000000.00",
        "signed_on": "2025-01-15",
        "from": "2025-02-01",
        "until": "2026-02-01",
        "use": "training",
        "prices": PRICES,
        "related_party": False,
    } | rented


# Records


def slices(provider: str) -> Iterator[Slice]:
    """Yield a provider's slices, hour by hour, without end."""
    shapes = _shapes(provider)
    for hour in count():
        first = FIRST_JOB + hour // JOB_HOURS * JOBS
        for job in range(first, first + JOBS):
            shape = shapes[job % len(shapes)]
            yield Slice(job, hour % JOB_HOURS, hour % (DAYS * 24), shape)


def _shapes(provider: str) -> list[Shape]:
    """Return a few thousand jobs; their number is prime, so that no two hours are alike."""
    mine = [number for number in range(len(WEIGHTS)) if provider_of(number) == provider]
    weights = [WEIGHTS[number] for number in mine]
    chance = random.Random(provider)
    return [
        Shape(contract_id(number), chance.choice(DEVICES), chance.choice(CARDS) * 1_000)
        for number in chance.choices(mine, weights, k=4_093)
    ]


class Stream:
    """A client's numbered stream: the next batch of a provider's slices, signed."""

    def __init__(self, provider: str, name: str) -> None:
        self.provider = provider
        self.name = name
        self._numbers = count(1)

    def seal(self, records: Iterable[Slice]) -> Envelope:
        texts = [as_json(record) for record in records]
        return self.seal_texts(texts)

    def seal_texts(self, texts: list[str], padded_bytes: int = 0) -> Envelope:
        """Sign records that are JSON already, filled with blanks up to a length of the payload."""
        payload = (
            f'{{"log":"{ORIGIN}","provider":"{self.provider}","stream":"{self.name}",'
            f'"seq":{next(self._numbers)},"records":[{",".join(texts)}]}}'
        )
        keyid = keyid_of(self.provider)
        data = seal(BATCH_TYPE, payload.encode().ljust(padded_bytes), keyid, signer(keyid))
        return Envelope(data, len(texts))


def as_json(record: Slice) -> str:
    job, number, hour, shape = record
    last = number == JOB_HOURS - 1
    return (
        f'{{"id":"slurm:{job}:{number}","contract":"{shape.contract}","device":"{shape.device}",'
        f'"milli_devices":{shape.milli_devices},{_INTERVALS[hour]},"run":"slurm:{job}",'
        f'"state":"{"COMPLETED" if last else "RUNNING"}","final":{"true" if last else "false"}}}'
    )


def _interval(hour: int) -> str:
    start = BEGINS + hour * HOUR_SECONDS
    return f'"start":"{format_instant(start)}","end":"{format_instant(start + HOUR_SECONDS)}"'


_INTERVALS = [_interval(hour) for hour in range(DAYS * 24)]
