"""Where the sequencer pauses, so that requests and responses move on beside a long batch."""

from meter import intake as intake_module
from tests.books import ALPHA, BETA, PROGRAMME, record, void
from tests.meter.test_allocations import open_pool
from tests.services import HOUR, serving


class Pauses:
    """Counts the places where the sequencer would pause, and pauses nowhere."""

    def __init__(self) -> None:
        self.taken = 0

    async def take(self) -> None:
        self.taken += 1


async def pauses_of(service, records=(), voids=(), **changes) -> int:
    """Return how often the sequencer may pause while it takes a batch."""
    service.intake._breath = pauses = Pauses()
    answer = await service.usage(records, voids, **changes)
    assert answer.status == 200
    return pauses.taken


async def test_the_sequencer_may_pause_before_a_batch_at_each_step_and_while_it_appends(
    database, tmp_path
):
    async with serving(database, tmp_path) as service:
        await service.open_books()
        names = [f"r{number}" for number in range(60)]
        plain = [record(name, "A", *HOUR, 1_000) for name in names]
        # Once before; when all are judged, and at the end; after the run of all.
        assert await pauses_of(service, plain) == 1 + 2 + 1
        # After each 25 that are judged, the rest, and the end; after 25 and 50 that are appended.
        assert await pauses_of(service, voids=map(void, names), seq=2) == 1 + 4 + 2
        assert await pauses_of(service, voids=map(void, names), seq=2) == 1


async def test_the_sequencer_may_pause_among_the_entries_that_follow_from_a_command(
    database, tmp_path, monkeypatch
):
    monkeypatch.setattr(intake_module, "RECORDS_PER_STEP", 1)
    async with serving(database, tmp_path) as service:
        await open_pool(service)
        service.intake._breath = pauses = Pauses()
        requests = [[ALPHA, "90.00"], [BETA, "60.00"]]
        await service.ask("/v1/allocations", programme=PROGRAMME, year=2025, requests=requests)
        # Before the command, and after each of the two coupons.
        assert pauses.taken == 1 + 2
