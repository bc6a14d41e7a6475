"""Signed payloads that no honest provider sends: each gets documented codes and nothing else."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from meter.values.problems import Problem
from meter.values.units import format_instant
from meter.wire import dsse
from meter.wire.receipt import RECORD_CODES, VOID_CODES
from tests.books import DAY, DEVICE, ORIGIN, attempt, figures, properties, signer, void
from tests.deciding import START, TIMES, code, usage, verdict, with_two_providers

REFUSALS_OF_A_SIGNED_BATCH = {
    "bad_batch",
    "provider_mismatch",
    "seq_conflict",
    "wrong_genesis",
    "wrong_log",
}
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([0, 1, 2**53, 2**63, 2**64, 10**30, -1]),
    st.floats(),
    st.text(max_size=12),
    st.sampled_from(
        ["", "A", "Z", "r", "pcl", "sz", "main", ORIGIN, *TIMES, "ascend-910b", "\ud800"]
    ),
    st.sampled_from(
        ["9998-12-31T23:59:59-23:59", "1900-01-01T00:00:00+23:59", "2025-03-01T12:05:00Z"]
    ),
)
JSON = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)
GOOD = {
    "log": ORIGIN,
    "provider": "pcl",
    "stream": "main",
    "seq": 2,
    "voids": [void("old"), void("none")],
    "records": [usage(run="run", state="RUNNING", final=True), usage(id="s", contract="Z")],
}


def places(value: Any, path: tuple = ()) -> list[tuple]:
    """Return the path of everything inside a JSON value."""
    match value:
        case dict():
            inner = [places(item, (*path, key)) for key, item in value.items()]
        case list():
            inner = [places(item, (*path, index)) for index, item in enumerate(value)]
        case _:
            inner = []
    return [path, *(place for each in inner for place in each)]


def changed(value: Any, path: tuple, new: Any, action: str) -> Any:
    """Put something else at a path: in its place, beside it, or nothing at all."""
    if not path:
        return new
    head, *rest = path
    copy = dict(value) if isinstance(value, dict) else list(value)
    if rest:
        copy[head] = changed(value[head], tuple(rest), new, action)
    elif action == "remove":
        del copy[head]
    elif action == "add" and isinstance(copy, list):
        copy.insert(head, new)
    elif action == "add":
        copy[f"{head}x"] = new
    else:
        copy[head] = new
    return copy


@st.composite
def hostile_payloads(draw) -> bytes:
    value: Any = GOOD
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(places(value)))
        action = draw(st.sampled_from(["replace", "replace", "remove", "add"]))
        value = changed(value, path, draw(JSON), action)
    data = json.dumps(value, ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass")
    if draw(st.booleans()):
        position = draw(st.integers(0, len(data)))
        data = (
            data[:position]
            + draw(st.binary(max_size=4))
            + data[position + draw(st.integers(0, 3)) :]
        )
    return data


@settings(properties, max_examples=400)
@given(hostile_payloads())
def test_a_hostile_payload_gets_documented_codes_and_nothing_else(payload):
    books = with_two_providers()
    books.post([usage(id="old")], seq=1)
    before = figures(books.state)
    data = dsse.seal(dsse.BATCH_TYPE, payload, "pcl-1", signer("pcl-1"))
    receipt = attempt(lambda: books.send(data))
    if isinstance(receipt, Problem):
        assert receipt.code in REFUSALS_OF_A_SIGNED_BATCH
        assert figures(books.state) == before
        return
    answer = json.loads(receipt)
    assert {each["code"] for each in answer["voids"] if "code" in each} <= set(VOID_CODES)
    assert {each["code"] for each in answer["results"] if "code" in each} <= set(RECORD_CODES)
    assert answer["entries"]["count"] == len(books.entries) - before["size"]


@settings(properties, max_examples=200)
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "id": st.sampled_from(["r", "old", "s"]),
            "contract": st.sampled_from(["A", "Z", "none"]),
            "device": st.sampled_from([DEVICE, "none"]),
            "milli_devices": st.integers() | st.integers(1, 10**9),
            "start": st.integers(START - 40 * DAY, START + 40 * DAY).map(format_instant),
            "end": st.integers(START - 40 * DAY, START + 40 * DAY).map(format_instant),
            "final": st.booleans(),
        },
    )
)
def test_a_record_of_the_right_form_always_gets_one_result(changes):
    books = with_two_providers()
    verdict(books, id="old")
    result = attempt(lambda: verdict(books, **changes))
    if isinstance(result, Problem):
        # An integer that no reader of ours keeps exact.
        assert result.code == "bad_batch"
        assert abs(changes["milli_devices"]) >= 2**53
        return
    assert result.status in {"accepted", "duplicate", "conflict", "rejected"}
    assert code(result) in {None, *RECORD_CODES}
