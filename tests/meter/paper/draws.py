"""Drawn requests for the books: few names, so that things meet; most valid, some not."""

from datetime import datetime, timedelta

from hypothesis import strategies as st

from tests.books import DEVICE, uscc_of
from tests.meter.paper.values import PRIZE, PROGRAMME, SHANGHAI

USCCS = [uscc_of(number) for number in (1, 2, 3, 4)]
CONTRACTS = ["A", "B", "C", "D", "E", "F", "G", "M"]
PROVIDERS = ["p1", "p2"]
KEYS = ["k1", "k2", "k3"]
usccs = st.sampled_from(USCCS)
contract_ids = st.sampled_from([*"AAABBBCCDD", *CONTRACTS, "none"])
providers = st.sampled_from(["p1", "p1", "p2"])
amounts = st.sampled_from(["0.00", "0.01", "1.12", "20.00", "33.33", "60.00", "119.99"])
issue_years = st.sampled_from([2025, 2026, 2025, 2026, 2027, 2024])
devices = st.sampled_from([DEVICE, DEVICE, DEVICE, "unlisted", "none"])
record_ids = st.sampled_from([f"r{number}" for number in range(14)])

_FIRST, _SECOND, _THIRD = USCCS[:3]
requests = st.sampled_from(
    [
        [(_FIRST, "20.00"), (_SECOND, "33.33")],
        [(_SECOND, "40.00"), (_FIRST, "59.99")],
        [(_FIRST, "33.33"), (_SECOND, "0.02")],
        [(_FIRST, "0.01")],
        [(_SECOND, "20.00")],
        [(_FIRST, "60.01")],
        [(_SECOND, "1.00"), (_FIRST, "0.00")],
        [(_FIRST, "1.00"), (_FIRST, "1.00")],
        [(_FIRST, "1.00"), (_THIRD, "1.00")],
    ]
)

award_bodies = st.fixed_dictionaries(
    {
        "id": st.sampled_from(["W", "W", "X", "Y", "P", "A"]),
        "programme": st.just(PRIZE),
        "enterprise": st.sampled_from([USCCS[0], USCCS[0], USCCS[1], USCCS[3]]),
        "class": st.just("standard"),
        "project": st.just("P"),
        "year": st.sampled_from([2025, 2025, 2026, 2027]),
        "base": st.sampled_from(["20.01", "66.67", "100.00", "100.00"]),
        "amount": st.sampled_from(
            ["0.00", "0.01", "10.00", "10.01", "15.00", "15.01", "15.01", "33.33", "40.00", "40.01"]
        ),
        "document": st.sampled_from(["x", "x", "x", "y"]),
    }
)
provider_bodies = st.fixed_dictionaries(
    {
        "id": st.sampled_from(PROVIDERS),
        "uscc": st.sampled_from(USCCS[2:]),
        "name": st.sampled_from(["x", "x", "y"]),
        "devices": st.sampled_from([{DEVICE: 10_000_000}, {DEVICE: 5}]),
        "enlisted": st.fixed_dictionaries(
            {
                "batch": st.just("1"),
                "from": st.sampled_from(["2025-01-01", "2025-12-01"]),
                "until": st.sampled_from(["2026-06-01", "2027-01-01", "2025-01-01"]),
            }
        ),
    }
)
enterprise_bodies = st.fixed_dictionaries(
    {
        "uscc": usccs,
        "name": st.sampled_from(["x", "x", "y"]),
        "kind": st.sampled_from(["enterprise", "enterprise", "university"]),
        "founded_on": st.sampled_from(["2019-04-01", "2024-12-31", "2025-01-15", "2025-06-15"]),
    }
)
contract_bodies = st.fixed_dictionaries(
    {
        "id": st.sampled_from(["A", *"EFFGG"]),
        "contract_no": st.sampled_from("AEFGHe"),
        "programme": st.sampled_from([PROGRAMME] * 6 + ["other"]),
        "enterprise": st.sampled_from([USCCS[0], USCCS[0], USCCS[1], USCCS[2]]),
        "provider": st.sampled_from(["p1", "p1", "p1", "p2"]),
        "amount": st.sampled_from(["100.00", "33.33", "70.01", "0.01", "0.00"]),
        "signed_on": st.sampled_from(
            ["2025-05-31", "2025-06-01", "2025-12-30", "2025-12-31", "2026-01-06"]
        ),
        "from": st.sampled_from(["2025-06-01", "2025-12-25", "2025-12-31"]),
        "until": st.sampled_from(["2026-06-01", "2026-12-31", "2025-12-31", "2025-06-01"]),
        "use": st.sampled_from(["training"] * 4 + ["research"]),
        "prices": st.sampled_from(
            [
                *({DEVICE: "4.50", "unlisted": "1.00"}, {DEVICE: "12.34"}, {DEVICE: "0.3333"}),
                {DEVICE: {"amount": "100.01", "per": "day"}},
                {
                    DEVICE: {"amount": "3000.00", "per": "month"},
                    "unlisted": {"amount": "0.0001", "per": "month"},
                },
                {DEVICE: "4.50", "unlisted": {"amount": "9.99", "per": "day"}},
            ]
        ),
        "max_devices": st.sampled_from(
            [{}, {}, {DEVICE: 4}, {DEVICE: 100}, {"none": 1}, {"Unlisted": 1}]
        ),
        "related_party": st.sampled_from([False] * 5 + [True]),
    }
)
BASE_ENTERPRISE = {"name": "x", "kind": "enterprise"}
BASE_CONTRACT = {
    "programme": PROGRAMME,
    "enterprise": USCCS[0],
    "provider": "p1",
    "amount": "100.00",
    "signed_on": "2025-06-01",
    "from": "2025-06-01",
    "until": "2026-12-31",
    "use": "training",
    "prices": {DEVICE: "4.50", "unlisted": "1.00"},
    "max_devices": {},
    "related_party": False,
}
BASE_PROVIDER = {
    "name": "x",
    "devices": {DEVICE: 10_000_000},
    "enlisted": {"batch": "1", "from": "2025-01-01", "until": "2027-01-01"},
}


enlistments = st.fixed_dictionaries(
    {
        "batch": st.sampled_from(["1", "2", "2", "3"]),
        "from": st.sampled_from(["2025-01-01", "2025-01-01", "2026-01-01", "2026-01-05"]),
        "until": st.sampled_from(
            ["2027-01-01", "2026-06-01", "2026-01-06", "2026-01-01", "2025-01-01"]
        ),
    }
)


@st.composite
def record_bodies(draw) -> dict:
    """Draw a record: ends near the clock, or around the end of a year."""
    base = draw(st.sampled_from(["clock", "clock", "year"]))
    seconds = draw(st.sampled_from([-301, -300, 0, 1, 3_601, 86_400, 40 * 86_400, 40 * 86_400 + 1]))
    return {
        "id": draw(record_ids),
        "contract": draw(contract_ids),
        "device": draw(devices),
        "milli_devices": draw(st.sampled_from([1, 460, 1_000, 3_000, 7_000, 16_000, 0, 10**9 + 1])),
        "base": base,
        "ago": seconds,
        "lasts": draw(
            st.sampled_from([1, 61, 1_800, 3_600, 3_601, 7_200, 28_800, 31 * 86_400, 0, -1])
            | st.integers(1, 40_000)
        ),
    }


@st.composite
def good_records(draw) -> dict:
    return draw(record_bodies()) | {
        "contract": draw(st.sampled_from("AABBDDEFM")),
        "device": DEVICE,
        "milli_devices": draw(st.sampled_from([460, 1_000, 3_000, 7_001])),
        "ago": draw(st.sampled_from([0, 0, 61, 1_800, 3_601, 7_200, 10_800, 86_400])),
        "lasts": draw(st.sampled_from([900, 900, 1_800, 86_400]) | st.integers(60, 30_000)),
    }


def placed(drawn: dict, now: datetime) -> dict:
    """Return a drawn record at the current clock."""
    drawn = dict(drawn)
    base, ago, lasts = (drawn.pop(name) for name in ("base", "ago", "lasts"))
    edge = datetime(2026, 1, 1, tzinfo=SHANGHAI) + timedelta(seconds=900)
    end = edge if base == "year" else now - timedelta(seconds=ago)
    # Written without the core, so that the model reads the drawn values.
    return drawn | {
        "start": (end - timedelta(seconds=lasts)).isoformat(),
        "end": end.isoformat(),
    }
