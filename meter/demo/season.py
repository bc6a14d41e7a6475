"""Who takes part in the demonstration that is served, and what their clusters do.

Three enterprises rent devices from two providers for seven months of 2025. Everybody is made up.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from meter.agent.simulate import Rental
from meter.demo.cast import PRICES, PROGRAMME, Body, uscc
from meter.values.units import DAY_SECONDS, add_months, format_date, parse_date

BEGINS: Final = parse_date("2025-02-01")
ENDS: Final = parse_date("2025-09-01")
ROBOTS: Final = uscc(11)
MODELS: Final = uscc(12)
UNIVERSITY: Final = uscc(13)
YEAR: Final = 2025
MONTHS: Final = 7
CLOSING_DAYS: Final = 40  # after a month: by then nothing of it comes any more


@dataclass(frozen=True, slots=True)
class Provider:
    """A provider: what registers it, the stream and key in which it reports, and its nodes."""

    body: Body
    stream: str
    keyid: str
    nodes: int

    @property
    def id(self) -> str:
        """Its id."""
        return str(self.body["id"])


@dataclass(frozen=True, slots=True)
class Lease:
    """A contract, and the nodes that its jobs may occupy at a time."""

    id: str
    enterprise: str
    provider: str
    device: str
    amount: str
    nodes: int
    max_devices: int = 0

    @property
    def body(self) -> Body:
        """What registers the contract."""
        limits = {"max_devices": {self.device: self.max_devices}} if self.max_devices else {}
        return {
            "id": self.id,
            "contract_no": f"深算租-{self.id}",
            "programme": PROGRAMME,
            "enterprise": self.enterprise,
            "provider": self.provider,
            "amount": self.amount,
            "signed_on": "2025-01-15",
            "from": "2025-02-01",
            "until": "2026-02-01",
            "use": "training",
            "prices": {self.device: PRICES[self.device]},
            "related_party": False,
            **limits,
        }

    @property
    def rental(self) -> Rental:
        """What its jobs occupy; they go on after the seven months."""
        until = ENDS + 120 * DAY_SECONDS
        return Rental(self.id, self.device, self.nodes, BEGINS, until)


def _provider(number: int, id_: str, name: str, device: str, nodes: int) -> Provider:
    body = {
        "id": id_,
        "uscc": uscc(number),
        "name": name,
        "devices": {device: nodes * 8},
        "enlisted": {"batch": "2025-1", "from": "2025-01-01", "until": "2027-01-01"},
    }
    return Provider(body, f"{id_}-main", f"{id_}-2025a", nodes)


PROVIDERS: Final = (
    _provider(1, "pcl", "鹏城云脑", "ascend-910b", 64),
    _provider(2, "qianhai", "前海智算", "h800", 16),
)
ENTERPRISES: Final[Sequence[Body]] = tuple(
    {"uscc": code, "name": name, "kind": kind, "founded_on": founded_on}
    for code, name, kind, founded_on in (
        (ROBOTS, "甲机器人公司", "enterprise", "2019-04-01"),
        (MODELS, "乙大模型公司", "enterprise", "2024-09-01"),
        (UNIVERSITY, "丙大学", "university", "1983-09-27"),
    )
)
LEASES: Final = (
    Lease("TC-2025-0101", MODELS, "pcl", "ascend-910b", "2400000.00", 10, max_devices=72),
    Lease("TC-2025-0102", MODELS, "qianhai", "h800", "1500000.00", 2),
    Lease("TC-2025-0103", MODELS, "pcl", "ascend-910b", "600000.00", 2),
    Lease("TC-2025-0201", ROBOTS, "pcl", "ascend-910b", "6000000.00", 16),
    Lease("TC-2025-0202", ROBOTS, "qianhai", "h800", "3000000.00", 4),
    Lease("TC-2025-0301", UNIVERSITY, "pcl", "ascend-910b", "1200000.00", 4),
)
COUPONS: Final[Sequence[Body]] = tuple(
    {"programme": PROGRAMME, "enterprise": code, "year": YEAR, "amount": amount}
    for code, amount in (
        (MODELS, "1800000.00"),
        (ROBOTS, "4000000.00"),
        (UNIVERSITY, "600000.00"),
    )
)


def closings() -> dict[int, str]:
    """Return the months by the instants at which they are closed; the last lie after the season."""
    ends = [add_months(format_date(BEGINS), count) for count in range(1, MONTHS + 1)]
    return {
        parse_date(end) + CLOSING_DAYS * DAY_SECONDS: format_date(parse_date(end) - 1)[:7]
        for end in ends
    }
