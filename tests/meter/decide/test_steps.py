"""The steps in which a batch is judged, so that others are served in between."""

import base64
from typing import Any

import pytest

from meter.rules.decide import Decision
from meter.wire import dsse
from meter.wire.batch import parse_batch
from meter.wire.receipt import Before
from tests.books import DAY, HOUR, record, salt_of, signer
from tests.deciding import END, with_contract


def steps_of(records: list[dict[str, Any]]) -> int:
    """Return how many steps the judgement of records takes, without the one for the receipt."""
    books = with_contract()
    data = dsse.seal(dsse.BATCH_TYPE, books.payload(records), "pcl-1", signer("pcl-1"))
    signed = parse_batch(dsse.parse(data, dsse.BATCH_TYPE), data)
    before = Before(books.state.size, base64.b64encode(bytes(32)).decode())
    decision = Decision(books.state, signed, books.now, before, salt_of(data), by_groups=False)
    steps = 0
    while decision.result is None:
        decision.step()
        steps += 1
    return steps - 1


@pytest.mark.parametrize(
    ("seconds", "records", "steps"),
    [
        (HOUR, 25, 1),
        (HOUR, 26, 2),
        (31 * DAY, 1, 1),
        (31 * DAY, 4, 4),
        (31 * DAY // 2, 4, 2),
        # Refused, and so no dearer than the longest that is not.
        (365 * DAY, 2, 2),
        (-31 * DAY, 26, 2),
    ],
)
def test_a_step_judges_25_records_or_31_days_of_them(seconds, records, steps):
    ids = [f"r{number}" for number in range(records)]
    assert steps_of([record(id_, "A", END - seconds, END, 1) for id_ in ids]) == steps
