"""A firm with something on each of its pages: three contracts over two months, and its faults."""

import random
from typing import Any

from meter.values.units import day_of, day_start, format_instant, parse_date
from tests.books import DEVICE, record, void
from tests.services import (
    Service,
    contract_body,
    enterprise_body,
    key_body,
    provider_body,
)

NOW = "2025-08-21T17:12:50+08:00"
FIRM = "深圳乙大模型科技有限公司"
EVIL = '<script>alert("x")</script>'
H800 = "h800"
_PRICES = {DEVICE: "4.50", H800: "13.00"}


async def open_firm(service: Service, *, days: int = 50, issued: str = "500000.00") -> None:
    """Register it, and report usage of some days, a gap, and records of every fate."""
    await service.activate()
    devices = {DEVICE: 4_096, H800: 64}
    await service.ask("/v1/providers", **provider_body(devices=devices))
    await service.ask("/v1/providers/pcl/keys", **key_body("pcl-1"))
    await service.ask("/v1/enterprises", **enterprise_body(name=FIRM))
    for name, amount, terms in (
        ("TC-2025-0101", "2400000.00", {"max_devices": {DEVICE: 128}}),
        ("TC-2025-0102", "1500000.00", {}),
        ("TC-2025-0103", "600000.00", {}),
    ):
        body = contract_body(name, amount=amount, prices=_PRICES, **terms)
        await service.ask("/v1/contracts", **body)
    await service.issue(2025, issued)
    today, draw = day_of(parse_date(NOW[:10])), random.Random(1)
    for seq in range(1, days + 1):
        day = today - days + seq - 1
        service.clock.set(format_instant(day_start(day + 1) + 3600))
        await _post(service, list(_records(day, draw)), seq if seq < days else days + 1)
    service.clock.set(NOW)
    last = [record("late", "TC-2025-0101", *_hours(today - 60, 8, 9), 1_000)]
    last += [record("beyond", "TC-2025-0101", *_hours(today - 1, 2, 6), 250_000)]
    answer = await _post(service, last, days + 2, voids=[void(f"{today - 3}:0")])
    assert [each["status"] for each in answer["results"]] == ["rejected", "accepted"]
    await service.published()


def _records(day: int, draw: random.Random) -> Any:
    yield record(f"{day}:0", "TC-2025-0101", *_hours(day, 8, 12), draw.randrange(64, 128) * 1000)
    if draw.random() < 0.8:
        yield record(f"{day}:1", "TC-2025-0102", *_hours(day, 8, 20), 16_000, device=H800)
    if draw.random() < 0.5:
        yield record(f"{day}:2", "TC-2025-0103", *_hours(day, 0, 3), 64_000)


def hours(instant: str, begin: int, end: int) -> tuple[str, str]:
    """Return a time on the day of an instant."""
    return _hours(day_of(parse_date(instant[:10])), begin, end)


def _hours(day: int, begin: int, end: int) -> tuple[str, str]:
    return format_instant(day_start(day) + begin * 3600), format_instant(
        day_start(day) + end * 3600
    )


async def _post(service: Service, records: list[Any], seq: int, **batch: Any) -> dict[str, Any]:
    answer = await service.usage(records, seq=seq, **batch)
    assert answer.status == 200, answer.body
    return answer.json
