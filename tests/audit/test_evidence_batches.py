"""Which batches a firm's evidence holds: those that ask for its own contracts and no other's."""

import json

import pytest

from meter.auditor.papers.evidence import _is_firms
from meter.values.strict import decode
from meter.wire.batch import Batch
from tests.books import ALPHA, BETA, opened, purchase, record, uscc_of, void

HOURS = ("2025-03-01T08:00:00+08:00", "2025-03-01T09:00:00+08:00")
OTHER = record("new", "B", *HOURS, 1)


@pytest.fixture(scope="module")
def state():
    books = opened(now="2025-03-10T12:00:00+08:00")
    books.enterprise(BETA)
    books.contract("A")
    books.contract("B", enterprise=BETA)
    books.post([record("of-a", "A", *HOURS, 1_000), record("of-b", "B", *HOURS, 1_000)])
    return books.state


def batch(records=(), purchases=(), voids=()) -> Batch:
    body = {"log": "kashi.test/books", "provider": "pcl", "stream": "main", "seq": 7}
    parts = {"records": records, "purchases": purchases, "voids": voids}
    body |= {name: [*each] for name, each in parts.items() if each}
    return decode(json.dumps(body).encode(), Batch)


@pytest.mark.parametrize(
    ("parts", "owners"),
    [
        ({"records": [record("new", "A", *HOURS, 1)]}, {ALPHA}),
        ({"records": [record("new", "A", *HOURS, 1), OTHER]}, set()),
        ({"purchases": [purchase("p", "B", "1.00", "2025-03-01")]}, {BETA}),
        ({"voids": [void("of-a")]}, {ALPHA}),
        ({"voids": [void("of-b")]}, {BETA}),
        ({"voids": [void("of-a"), void("of-b")]}, set()),
        ({"voids": [void("nobody's")]}, set()),
        ({"records": [OTHER], "voids": [void("of-a")]}, set()),
        ({"records": [record("new", "unknown", *HOURS, 1)]}, set()),
    ],
)
def test_a_batch_is_a_firms_where_all_that_it_asks_for_is(state, parts, owners):
    firms = {ALPHA, BETA, uscc_of(5)}
    assert {firm for firm in firms if _is_firms(state, firm, batch(**parts))} == owners
