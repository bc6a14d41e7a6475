"""What front and leader say to each other: one spelling, read strictly, cut anywhere."""

import json
import re
from pathlib import Path

import msgspec
import pytest

from meter.host import handover
from meter.host.handover import (
    MAX_FRAME_BYTES,
    BadMessage,
    BatchMessage,
    Frames,
    FromFront,
    FromLeader,
    Moved,
    Refused,
    batch_message,
    command_message,
    command_of,
    frame,
    outcome_message,
    outcome_of,
    signed_batch,
)
from meter.rules.decide_command import CommandResponse
from meter.rules.state import StoredBatch
from meter.values.problems import Problem
from meter.values.strict import decode_request
from meter.wire.batch import Batch, Record, SignedBatch, parse_batch
from meter.wire.dsse import BATCH_TYPE, Envelope
from meter.wire.receipt import EntryRange
from tests.books import ORIGIN, purchase, record, void
from tests.fuzz.seeds import _BODIES
from tests.fuzz.targets import COMMANDS
from tests.services import HOUR

RECORDS = [
    record("slurm:1:0", "A", *HOUR, 64_000),
    record("slurm:2:0", "B", *HOUR, -1) | {"run": "slurm:2", "state": "RUNNING", "final": False},
    record("slurm:3:0", "A", *HOUR, 1) | {"state": "完成", "final": True},
]
DATES = {"service_from": "2025-03-01", "service_until": "2026-03-01"}
BOUGHT = [purchase("o1", "K", "20.00", "2025-03-01"), purchase("o2", "K", "7.50", "2025-03-01")]


def signed(records=(), voids=(), purchases=(), **fields) -> SignedBatch:
    body = {"log": ORIGIN, "provider": "pcl", "stream": "main", "seq": 1} | fields
    body |= {"records": list(records), "voids": list(voids), "purchases": list(purchases)}
    payload = json.dumps(body, ensure_ascii=False).encode()
    return parse_batch(Envelope(BATCH_TYPE, payload, "pcl-1", b""), b"the envelope")


def plain(batch: SignedBatch) -> SignedBatch:
    """The same batch with plain records: a loose one equals no other."""
    records = [
        Record(*(getattr(r, f) for f in Record.__struct_fields__)) for r in batch.batch.records
    ]
    fields = {name: getattr(batch.batch, name) for name in type(batch.batch).__struct_fields__}
    rest = (batch.keyid, batch.payload_sha256, batch.envelope_sha256, batch.envelope)
    return SignedBatch(Batch(**fields | {"records": records}), *rest)


def handed(message, side=FromFront):
    """Return a message as the other side reads it."""
    (read,) = Frames(side).feed(frame(message))
    return read


@pytest.mark.parametrize(
    "batch",
    [
        signed(),
        signed(RECORDS[:1]),
        signed(RECORDS),
        signed(RECORDS[1:], [void("r1"), void("r2", "节点故障")], genesis="0" * 64, seq=2**53 - 1),
        signed(purchases=[BOUGHT[0], BOUGHT[1] | DATES]),
    ],
)
def test_a_batch_that_is_handed_over_is_the_one_that_was_read(batch):
    assert plain(signed_batch(handed(batch_message(7, 8, batch)))) == plain(batch)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_that_is_handed_over_is_the_one_that_was_asked_for(name):
    taken = 0
    for body in _BODIES[name]:
        try:
            command = decode_request(json.dumps(body).encode(), COMMANDS[name], {})
        except ValueError:
            continue
        message = handed(command_message(7, 8, command, "li-1", "key"))
        assert (command_of(message), message.by, message.request) == (command, "li-1", "key")
        taken += 1
    assert taken > 0


@pytest.mark.parametrize(
    "outcome",
    [
        StoredBatch(EntryRange(9, 3), "00", b"{}", "sig1=:AA==:"),
        CommandResponse(201, b'{"entry":9}', replayed=False),
        CommandResponse(201, b'{"entry":9}', replayed=True),
    ],
)
def test_an_outcome_that_is_told_is_the_one_that_came_about(outcome):
    assert outcome_of(handed(outcome_message(7, outcome), FromLeader)) == outcome


def test_a_problem_that_is_told_has_the_same_document():
    problem = Problem("wrong_genesis", "another ledger", genesis="00", entry=7)
    told = outcome_of(handed(outcome_message(7, problem), FromLeader))
    assert told.document() == problem.document()
    with pytest.raises(BadMessage, match="no problem has the code"):
        outcome_of(Refused(7, "nonsense", "", {}))


def test_the_page_of_the_format_shows_the_bytes_of_a_message():
    text = Path(handover.__file__).read_text(encoding="utf-8")
    (shown,) = re.findall(r"(?m)^    ((?:[0-9a-f]{2} ?)+(?: (?:[0-9a-f]{2} ?)+)*)$", text)
    assert bytes.fromhex(shown) == frame(Moved(9, 8, 6, ready=True))


def test_messages_are_read_however_the_stream_is_cut():
    said = [Moved(n, n, n, ready=bool(n % 2)) for n in (0, 200, 70_000)]
    stream = b"".join(map(frame, said))
    for size in range(1, len(stream) + 1):
        frames = Frames(FromLeader)
        parts = [stream[at : at + size] for at in range(0, len(stream), size)]
        assert [message for part in parts for message in frames.feed(part)] == said


def test_a_frame_of_another_form_is_refused():
    good = frame(batch_message(7, 8, signed(RECORDS)))
    with pytest.raises(BadMessage):
        Frames(FromLeader).feed(good)
    too_long = (MAX_FRAME_BYTES + 1).to_bytes(4, "big")
    with pytest.raises(BadMessage, match="a frame of"):
        Frames(FromFront).feed(too_long)
    assert Frames(FromFront).feed(MAX_FRAME_BYTES.to_bytes(4, "big")) == []
    for data in (b"\xc1", b"\x90", b"\x91\xa5batch", b"\x92\xa4told\xa1x", good[4:] + b"\x00"):
        with pytest.raises(BadMessage):
            Frames(FromFront).feed(len(data).to_bytes(4, "big") + data)


def test_columns_that_do_not_fit_are_refused():
    message = handed(batch_message(7, 8, signed(RECORDS)))
    columns = message.body.records
    for name in type(columns).__struct_fields__:
        fields = {each: getattr(columns, each) for each in type(columns).__struct_fields__}
        for wrong in (fields[name][:-1], [*fields[name], fields[name][-1]]):
            changed = changed_records(message, **fields | {name: wrong})
            with pytest.raises(BadMessage):
                signed_batch(changed)
    for name in ("runs", "states", "finals"):
        fields = {each: getattr(columns, each) for each in type(columns).__struct_fields__}
        with pytest.raises(BadMessage, match="left out"):
            signed_batch(changed_records(message, **fields | {name: [None] * 3}))


def changed_records(message: BatchMessage, **fields) -> BatchMessage:
    body = message.body
    records = type(body.records)(**fields)
    return msgspec.structs.replace(message, body=msgspec.structs.replace(body, records=records))


def test_a_command_of_another_form_is_refused():
    good = command_message(
        7, 8, decode_request(b'{"reason":"x"}', COMMANDS["EndToken"], {"token": "t"}), "li-1", None
    )
    import msgspec

    for changes in (
        {"kind": "Nothing"},
        {"fields": b"{}"},
        {"fields": b'{"token":"t","more":1}'},
        {"fields": '{"token":"\u200b"}'.encode()},
    ):
        with pytest.raises(BadMessage):
            command_of(msgspec.structs.replace(good, **changes))
