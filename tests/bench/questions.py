"""Questions to a small ledger and to a large one: what is asked, and how long it takes.

The pages of lists are full on both. What a question reads is held by
`tests/meter/test_growth_of_reads.py`, by rows.
"""

import asyncio
import time
from http.client import HTTPConnection
from statistics import median

from tests.bench.asking import ask
from tests.bench.report import Table, ms
from tests.bench.servers import Service
from tests.bench.workload import PROVIDERS, YEAR, contract_id, enterprise_of
from tests.books import PROGRAMME

OWN, PROVIDER = f"/v1/enterprises/{enterprise_of(0)}", f"/v1/providers/{PROVIDERS[0]}"
DAY = "from=2025-06-10&until=2025-06-11"
COUPON = f"programme={PROGRAMME}&year={YEAR}"
SIZE = "SIZE"  # stands for half of the ledger's entries
QUESTIONS = {
    "a balance": f"{OWN}/balance?{COUPON}",
    "a balance as of half the ledger": f"{OWN}/balance?{COUPON}&as_of={SIZE}",
    "a contract": f"/v1/contracts/{contract_id(0)}",
    "100 records, the newest": f"{OWN}/records?order=newest",
    "100 records of a day, the newest": f"{OWN}/records?order=newest&{DAY}",
    "100 lines of use by day": f"{OWN}/usage",
    "the days of a year": f"{OWN}/days?year={YEAR}",
    "a forecast": f"{OWN}/forecast?{COUPON}",
    "a coupon by ledger day": f"{OWN}/coupon-days?{COUPON}",
    "a provider's streams": f"{PROVIDER}/streams",
    "100 entries about a contract": f"/v1/entries?contract={contract_id(0)}",
    "the coupons": "/v1/coupons",
    "the pools": "/v1/pools",
    "entries by day": "/v1/growth?days=30",
    "questions, of 20,000 entries at most": "/v1/questions",
}

Found = dict[str, float]  # median seconds, by question


async def ask_all(service: Service, entries: int, times: int) -> Found:
    """Ask each question so many times, in turn, over one connection."""
    return await asyncio.to_thread(_ask_all, service, entries, times)


def _ask_all(service: Service, entries: int, times: int) -> Found:
    connection = HTTPConnection(service.host, service.port)
    taken: dict[str, list[float]] = {name: [] for name in QUESTIONS}
    for _ in range(times + 1):
        for name, path in QUESTIONS.items():
            began = time.perf_counter()
            ask(connection, path.replace(SIZE, str(entries // 2)), service.authorization)
            taken[name].append(time.perf_counter() - began)
    connection.close()
    return {name: median(each[1:]) for name, each in taken.items()}  # the first is to warm up


def table(small: Found, large: Found, sizes: tuple[int, int]) -> Table:
    """Return what each question took at both sizes."""
    head = ("question", *(f"ms at {size:,} entries" for size in sizes), "ratio")
    rows = [
        (name, ms(small[name]), ms(large[name]), f"{large[name] / small[name]:.1f}")
        for name in QUESTIONS
    ]
    return Table(head, rows)
