"""Who takes part in the demonstrations: the authority's requests, as they are posted.

Everybody here is made up. Prices are the demonstration's, in yuan per device-hour.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from meter.demo.trace import OTHER_QOS, Rule
from meter.values.uscc import check_character

Body = Mapping[str, Any]

PROGRAMME: Final = "training-coupon"
CAP: Final = "10000000.00"
PRICES: Final = {
    "ascend-910b": "4.50",
    "a800": "8.00",
    "h20": "7.50",
    "h800": "13.00",
    "rtx-4090": "2.00",
}
PROVIDER: Final = "pcl"
KEYID: Final = "pcl-2025a"


@dataclass(frozen=True, slots=True)
class Cast:
    """The bodies of the authority's requests; `stream` is the one in which the provider posts."""

    stream: str
    provider: Body
    enterprises: tuple[Body, ...]
    contracts: tuple[Body, ...]
    coupons: tuple[Body, ...]

    def name_of(self, uscc: str) -> str:
        """Return an enterprise's name."""
        return next(str(body["name"]) for body in self.enterprises if body["uscc"] == uscc)


def uscc(number: int) -> str:
    """Return a made-up code, the same for the same number."""
    body = f"91440300MA5K{number:05d}"
    return body + check_character(body)


def _provider(devices: Mapping[str, int]) -> Body:
    return {
        "id": PROVIDER,
        "uscc": uscc(1),
        "name": "鹏城云脑",
        "devices": devices,
        "enlisted": {"batch": "2025-1", "from": "2025-01-01", "until": "2027-01-01"},
    }


def _enterprise(uscc: str, name: str, founded_on: str, kind: str = "enterprise") -> Body:
    return {"uscc": uscc, "name": name, "kind": kind, "founded_on": founded_on}


@dataclass(frozen=True, slots=True)
class _Season:
    """When contracts are signed and run."""

    signed_on: str
    starts: str
    ends: str

    def contract(self, name: str, uscc: str, amount: str, devices: Iterable[str]) -> Body:
        return {
            "id": name,
            "contract_no": f"深算租-{name}",
            "programme": PROGRAMME,
            "enterprise": uscc,
            "provider": PROVIDER,
            "amount": amount,
            "signed_on": self.signed_on,
            "from": self.starts,
            "until": self.ends,
            "use": "training",
            "prices": {device: PRICES[device] for device in devices},
            "related_party": False,
        }


def _coupon(uscc: str, year: int, amount: str = CAP) -> Body:
    return {"programme": PROGRAMME, "enterprise": uscc, "year": year, "amount": amount}


# The simulated cluster: one enterprise with room enough, and a startup whose coupon will run out
# under its second contract, when the first is done.

STANDARD: Final = uscc(11)
STARTUP: Final = uscc(12)
STANDARD_CONTRACT: Final = "TC-2025-0001"
FIRST_OF_STARTUP: Final = "TC-2025-0002"
SECOND_OF_STARTUP: Final = "TC-2025-0003"

_SPRING: Final = _Season("2025-01-15", "2025-02-01", "2026-02-01")

CLUSTER: Final = Cast(
    stream="cloudbrain-2",
    provider=_provider({"ascend-910b": 4096}),
    enterprises=(
        _enterprise(STANDARD, "甲机器人公司", "2019-04-01"),
        _enterprise(STARTUP, "乙大模型公司", "2024-09-01"),
    ),
    contracts=(
        _SPRING.contract(STANDARD_CONTRACT, STANDARD, "20000000.00", ["ascend-910b"]),
        _SPRING.contract(FIRST_OF_STARTUP, STARTUP, "600000.00", ["ascend-910b"]),
        _SPRING.contract(SECOND_OF_STARTUP, STARTUP, "1200000.00", ["ascend-910b"]),
    ),
    coupons=(_coupon(STANDARD, 2025), _coupon(STARTUP, 2025, "60000.00")),
)


# A trace: its tasks under the contracts of four enterprises, by `TRACE_RULE`.

SHORT: Final = uscc(24)  # the one whose coupon of the first year will not be enough
TRACE_YEARS: Final = (2025, 2026)
TRACE_RULE: Final = Rule(
    contracts={
        "LS": ("TC-2025-0101", "TC-2025-0102", "TC-2025-0103"),
        "Burstable": ("TC-2025-0104",),
        OTHER_QOS: ("TC-2025-0105",),
    },
    devices=tuple(PRICES),
)

_AUTUMN: Final = _Season("2025-07-15", "2025-08-01", "2026-08-01")
_TRACE_ENTERPRISES: Final = (
    _enterprise(uscc(21), "甲机器人公司", "2019-04-01"),
    _enterprise(uscc(22), "乙大学", "1983-09-27", "university"),
    _enterprise(uscc(23), "丙视觉公司", "2024-11-05"),
    _enterprise(SHORT, "丁语音公司", "2025-02-20"),
)
TRACE_CONTRACTS: Final = tuple(
    _AUTUMN.contract(name, uscc, "20000000.00", PRICES)
    for name, uscc in (
        ("TC-2025-0101", uscc(21)),
        ("TC-2025-0102", uscc(22)),
        ("TC-2025-0103", uscc(23)),
        ("TC-2025-0104", SHORT),
        ("TC-2025-0105", SHORT),
    )
)


def trace_cast(short_coupon: str) -> Cast:
    """Return the cast of a trace: one coupon has this amount, all others the cap."""
    return Cast(
        stream="trace",
        provider=_provider(dict.fromkeys(PRICES, 10_000)),
        enterprises=_TRACE_ENTERPRISES,
        contracts=TRACE_CONTRACTS,
        coupons=tuple(
            _coupon(uscc, year, short_coupon if (uscc, year) == (SHORT, TRACE_YEARS[0]) else CAP)
            for uscc in (body["uscc"] for body in _TRACE_ENTERPRISES)
            for year in TRACE_YEARS
        ),
    )
