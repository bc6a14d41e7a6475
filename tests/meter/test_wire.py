"""The batch as a payload: reading, and refusals of the whole."""

import base64
import json
from hashlib import sha256
from typing import Any

import pytest
from msgspec import UNSET

from meter.values.problems import Problem
from meter.values.strict import decode
from meter.values.units import parse_instant
from meter.wire.batch import (
    MAX_BATCH_BYTES,
    MAX_BATCH_ITEMS,
    MAX_BATCH_SECONDS,
    MAX_BATCH_SERVICE_SECONDS,
    MAX_BRACES,
    MAX_QUOTES,
    Batch,
    SignedBatch,
    parse_batch,
)
from meter.wire.dsse import BATCH_TYPE, Envelope
from tests.books import ORIGIN, attempt
from tests.http_commands import RECORD

PURCHASE = {
    "id": "order-7001",
    "contract": "CC-2025-0001",
    "amount": "333333.33",
    "delivered_on": "2025-03-01",
}
VOID = {"id": "slurm:4100:3", "reason": "node failed, not charged"}
BATCH = {
    "log": ORIGIN,
    "provider": "pcl",
    "stream": "cloudbrain-2",
    "seq": 17,
    "voids": [VOID],
    "records": [RECORD],
}
MISSING = object()


def parsed(payload: bytes) -> SignedBatch:
    return parse_batch(Envelope(BATCH_TYPE, payload, "pcl-1", b""), b"the envelope")


def batch(**changes: Any) -> bytes:
    return written(BATCH | changes)


def with_record(**changes: Any) -> bytes:
    return batch(records=[RECORD | changes])


def with_void(**changes: Any) -> bytes:
    return batch(voids=[VOID | changes])


def written(value: Any) -> bytes:
    """Write JSON, without the members that are MISSING."""
    match value:
        case dict():
            members = [
                json.dumps(key).encode() + b":" + written(item)
                for key, item in value.items()
                if item is not MISSING
            ]
            return b"{" + b",".join(members) + b"}"
        case list():
            return b"[" + b",".join(map(written, value)) + b"]"
        case bytes():
            return value
        case _:
            return json.dumps(value).encode()


def refusal(payload: bytes, code: str = "bad_batch") -> None:
    with pytest.raises(Problem) as refused:
        parsed(payload)
    assert refused.value.code == code
    if code == "bad_batch":
        assert refused.value.detail == sentence_about(payload)


def sentence_about(payload: bytes) -> str:
    """Return the fault that the types of a batch find in a payload."""
    try:
        decode(payload, Batch)
    except ValueError as error:
        return str(error)
    return ""


def test_the_example_of_the_format_is_read():
    read = parsed(batch(genesis="ab" * 32))
    first = read.batch.records[0]
    assert (read.batch.log, read.batch.provider, read.batch.stream) == (
        ORIGIN,
        "pcl",
        "cloudbrain-2",
    )
    assert (read.batch.seq, read.batch.genesis) == (17, "ab" * 32)
    assert (read.batch.voids[0].id, read.batch.voids[0].reason) == (VOID["id"], VOID["reason"])
    assert (first.id, first.contract, first.device) == (
        "slurm:4211:0",
        "TC-2025-0001",
        "ascend-910b",
    )
    assert first.milli_devices == 64_000
    assert first.start == parse_instant("2025-03-01T00:00:00Z")
    assert first.end - first.start == 3600
    assert (first.run, first.state, first.final) == ("slurm:4211", "RUNNING", False)


def test_the_hashes_are_of_the_payload_and_of_the_envelope():
    read = parsed(batch())
    assert read.payload_sha256 == sha256(batch()).hexdigest()
    assert read.envelope_sha256 == sha256(b"the envelope").hexdigest()
    assert (read.envelope, read.keyid) == (b"the envelope", "pcl-1")


def test_run_state_final_genesis_and_the_lists_are_optional():
    read = parsed(with_record(run=MISSING, state=MISSING, final=MISSING))
    assert read.batch.genesis is UNSET
    first = read.batch.records[0]
    assert (first.run, first.state, first.final) == (UNSET, UNSET, UNSET)
    empty = parsed(batch(voids=MISSING, records=MISSING)).batch
    assert (empty.voids, empty.records) == ([], [])


@pytest.mark.parametrize("name", ["log", "provider", "stream", "seq"])
def test_a_batch_without_its_address_is_refused(name):
    refusal(batch(**{name: MISSING}))


@pytest.mark.parametrize("name", ["id", "contract", "device", "milli_devices", "start", "end"])
def test_a_record_without_a_needed_field_is_refused(name):
    refusal(with_record(**{name: MISSING}))


@pytest.mark.parametrize("name", ["id", "reason"])
def test_a_void_without_a_needed_field_is_refused(name):
    refusal(with_void(**{name: MISSING}))


def test_unknown_keys_are_refused_wherever_they_stand():
    refusal(batch(extra=1))
    refusal(with_record(extra=1))
    refusal(with_void(extra=1))
    refusal(batch(extra={"deep": [1, 2]}))


@pytest.mark.parametrize(
    "payload",
    [
        batch().replace(b'{"log"', b'{"seq":1,"log"'),
        batch().replace(b'{"log"', b'{"seq":17,"log"'),
        with_record().replace(b'"device"', b'"milli_devices":1,"device"'),
        with_void().replace(b'"reason"', b'"reason":"x","reason"'),
        batch().replace(b'"seq"', b'"\\u0073eq":17,"seq"'),
    ],
)
def test_a_key_that_occurs_twice_is_refused_even_with_the_same_value(payload):
    refusal(payload)


def test_a_byte_order_mark_and_other_encodings_are_refused():
    refusal(b"\xef\xbb\xbf" + batch())
    for encoding in ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le"):
        refusal(batch().decode().encode(encoding))


def test_bytes_that_are_not_utf8_are_refused():
    for raw in (b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xe5\x8d", b"\xf4\x90\x80\x80"):
        refusal(with_void(reason=b'"' + raw + b'"'))
        refusal(with_record(state=b'"' + raw + b'"'))


@pytest.mark.parametrize("escape", [r"\ud800", r"\udfff", r"\ud800x", r"\udc00\ud800"])
def test_a_lone_surrogate_is_refused(escape):
    refusal(with_void(reason=b'"' + escape.encode() + b'"'))
    refusal(with_record(state=b'"' + escape.encode() + b'"'))


def test_a_pair_of_surrogates_is_one_character():
    read = parsed(with_void(reason=rb'"\ud840\udc00"'))
    assert read.batch.voids[0].reason == "\U00020000"


@pytest.mark.parametrize("code", [*range(0x20), 0x7F, *range(0x80, 0xA0)])
def test_a_control_character_is_refused_in_every_text(code):
    character = chr(code)
    refusal(with_void(reason=f"a{character}b"))
    refusal(with_void(id=f"a{character}"))
    refusal(with_record(state=f"{character}"))
    refusal(with_record(id=f"a{character}"))
    refusal(with_record(contract=f"A{character}"))
    refusal(with_record(device=f"A{character}"))
    refusal(batch(log=f"{ORIGIN}{character}"))
    refusal(batch(stream=f"main{character}"))
    refusal(batch(genesis="ab" * 32 + character))


INTEGERS = [b"1.0", b"1e3", b"1E3", b"1e-3", b"0.5", b"-1.0", b'"1"', b"true", b"false", b"null"]
INTEGERS += [
    b"01",
    b"+1",
    b"0x1",
    b"1_000",
    b"NaN",
    b"Infinity",
    b"-Infinity",
    b"[1]",
    b"{}",
    b"1.",
]


@pytest.mark.parametrize("number", INTEGERS)
def test_only_an_integer_is_an_integer(number):
    refusal(batch(seq=number))
    refusal(with_record(milli_devices=number))


@pytest.mark.parametrize("number", [b"1" * 400, b"-" + b"9" * 5000, b"1" + b"0" * 100_000])
def test_an_integer_of_any_length_is_refused_or_judged_and_never_raises_else(number):
    refusal(batch(seq=number))
    read = attempt(lambda: parsed(with_record(milli_devices=number)))
    if isinstance(read, Problem):
        assert read.code == "bad_batch"
    else:
        assert read.batch.records[0].milli_devices == int(number)


@pytest.mark.parametrize("number", [2**53, -(2**53), 2**63 - 1, -(2**63), 2**64])
def test_a_number_that_json_readers_read_differently_is_refused(number):
    refusal(with_record(milli_devices=number))


@pytest.mark.parametrize("number", [0, -1, 1 - 2**53, 10**9 + 1, 2**53 - 1])
def test_a_wrong_number_of_devices_is_judged_by_record_and_not_refused_here(number):
    assert parsed(with_record(milli_devices=number)).batch.records[0].milli_devices == number


def test_sequence_numbers_go_from_1_to_below_2_to_the_53():
    for seq in (1, 2, 2**53 - 1):
        assert parsed(batch(seq=seq)).batch.seq == seq
    for seq in (0, -1, 2**53, 2**63, 2**64):
        refusal(batch(seq=seq))


@pytest.mark.parametrize("final", [0, 1, "false", None])
def test_final_is_true_or_false(final):
    refusal(with_record(final=final))


@pytest.mark.parametrize(
    "name", ["id", "contract", "device", "milli_devices", "start", "end", "run", "state", "final"]
)
@pytest.mark.parametrize("value", [None, [], {}, [1]])
def test_null_and_structures_are_refused_in_every_field_of_a_record(name, value):
    refusal(with_record(**{name: value}))


@pytest.mark.parametrize("name", [*BATCH, "genesis"])
@pytest.mark.parametrize("value", [None, {}, True, 1.5])
def test_null_and_other_types_are_refused_in_every_field_of_a_batch(name, value):
    refusal(batch(**{name: value}))


@pytest.mark.parametrize("items", [[None], [[]], ["x"], [{}], [1]])
def test_records_and_voids_are_lists_of_objects(items):
    refusal(batch(records=items))
    refusal(batch(voids=items))


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2025-03-01T08:00:00+08:00", "2025-03-01T00:00:00Z"),
        ("2025-03-01T00:00:00Z", "2025-03-01T00:00:00Z"),
        ("2025-02-28T19:30:00-04:30", "2025-03-01T00:00:00Z"),
        ("2025-03-01T23:59:00+23:59", "2025-03-01T00:00:00Z"),
        ("2025-03-01T00:00:00+00:00", "2025-03-01T00:00:00Z"),
    ],
)
def test_an_instant_may_name_any_offset(text, utc):
    assert parsed(with_record(start=text)).batch.records[0].start == parse_instant(utc)


@pytest.mark.parametrize(
    "text",
    [
        "2025-03-01T08:00:00",
        "2025-03-01 08:00:00Z",
        "2025-03-01t08:00:00Z",
        "2025-03-01T08:00:00z",
        "2025-03-01T08:00:00.0Z",
        "2025-03-01T08:00:00.000Z",
        "2025-03-01T08:00:00,5Z",
        "2025-03-01T08:00Z",
        "2025-03-01T08Z",
        "2025-03-01",
        "20250301T080000Z",
        "2025-03-01T08:00:00+0800",
        "2025-03-01T08:00:00+08",
        "2025-03-01T08:00:00+8:00",
        "2025-03-01T08:00:00+24:00",
        "2025-03-01T08:00:00+08:60",
        "2025-03-01T08:00:00 +08:00",
        "2025-03-01T08:00:00Z ",
        " 2025-03-01T08:00:00Z",
        "2025-03-01T24:00:00Z",
        "2025-03-01T23:60:00Z",
        "2025-03-01T23:59:60Z",
        "2025-02-29T00:00:00Z",
        "2025-13-01T00:00:00Z",
        "2025-00-01T00:00:00Z",
        "2025-03-00T00:00:00Z",
        "2025-3-1T08:00:00Z",
        "1899-12-31T00:00:00Z",
        "9999-12-31T00:00:00Z",
        "+2025-03-01T08:00:00Z",
        "２０２５-03-01T08:00:00Z",
        "2025-03-01T08:00:00\u221208:00",
        "2025-W09-6T08:00:00Z",
        "now",
        "",
        1740787200,
        1740787200.5,
        True,
    ],
)
def test_an_instant_has_one_form(text):
    refusal(with_record(start=text))
    refusal(with_record(end=text))


@pytest.mark.parametrize("good", ["a", "A", "0", "a-b_c.d", "x" * 64, "0..", "9-"])
def test_ids_of_letters_digits_and_marks_are_taken(good):
    assert parsed(with_record(contract=good)).batch.records[0].contract == good
    assert parsed(with_record(device=good)).batch.records[0].device == good
    assert parsed(batch(stream=good)).batch.stream == good
    assert parsed(batch(provider=good)).batch.provider == good


@pytest.mark.parametrize(
    "bad",
    [
        "",
        ".",
        "-a",
        "_a",
        ".a",
        "a b",
        "a:b",
        "a/b",
        "a\\b",
        "a%",
        "x" * 65,
        "é",
        "合同",
        "a\n",
        "\na",
        " a",
    ],
)
def test_ids_that_would_break_an_account_or_a_url_are_refused(bad):
    refusal(with_record(contract=bad))
    refusal(with_record(device=bad))
    refusal(batch(stream=bad))
    refusal(batch(provider=bad))


@pytest.mark.parametrize("good", ["!", "~", "slurm:4211:0", "a/b?c=d#e", "x" * 128, '"\\'])
def test_record_ids_and_runs_are_visible_ascii(good):
    assert parsed(with_record(id=good)).batch.records[0].id == good
    assert parsed(with_record(run=good)).batch.records[0].run == good
    assert parsed(with_void(id=good)).batch.voids[0].id == good


@pytest.mark.parametrize("bad", ["", " ", "a b", "x" * 129, "é", "作业", "a\x7f", "a\n", "\u00a0"])
def test_record_ids_and_runs_that_are_not_visible_ascii_are_refused(bad):
    refusal(with_record(id=bad))
    refusal(with_record(run=bad))
    refusal(with_void(id=bad))


def test_of_two_faults_the_first_is_told():
    bad_id, bad_state = RECORD | {"id": "a b"}, RECORD | {"state": 1}
    for records, place in (([bad_id, bad_state], "[0].id"), ([bad_state, bad_id], "[0].state")):
        payload = batch(records=records)
        refusal(payload)
        assert place in sentence_about(payload)


def test_states_and_reasons_have_a_length():
    assert parsed(with_record(state="态" * 128)).batch.records[0].state == "态" * 128
    assert parsed(with_void(reason="因" * 500)).batch.voids[0].reason == "因" * 500
    refusal(with_record(state="x" * 129))
    refusal(with_record(state=""))
    refusal(with_void(reason="x" * 501))
    refusal(with_void(reason=""))
    refusal(batch(log=""))
    refusal(batch(log="x" * 201))


@pytest.mark.parametrize("bad", ["", "AB" * 32, "ab" * 31, "ab" * 33, "zz" * 32])
def test_genesis_is_a_hash_in_lower_hex(bad):
    refusal(batch(genesis=bad))


def test_records_that_last_too_long_together_are_too_large():
    def lasting(start: str, end: str, count: int) -> list[dict[str, Any]]:
        return [RECORD | {"start": f"{start}T00:00:00Z", "end": f"{end}T00:00:00Z"}] * count

    days = lasting("2025-03-01", "2025-03-02", 2_600)
    months = lasting("2025-03-01", "2025-04-01", 83)
    assert MAX_BATCH_SECONDS == (2_600 + 83 * 31 + 27) * 86_400
    # Intervals that end before they start or are too long are judged as records, and count nothing.
    others = lasting("2025-03-02", "1925-03-01", 9) + lasting("1925-03-01", "2025-03-01", 9)
    parsed(batch(records=[*days, *months, *others, *days[:27]]))
    refusal(batch(records=[*days, *months, *others, *days[:28]]), "too_large")


def test_services_that_last_too_long_together_are_too_large():
    def lasting(start: str, end: str, count: int) -> list[dict[str, Any]]:
        return [PURCHASE | {"service_from": start, "service_until": end}] * count

    assert MAX_BATCH_SERVICE_SECONDS == 50 * 1_461 * 86_400
    longest, day = lasting("2025-01-01", "2029-01-01", 49), lasting("2025-01-01", "2025-01-02", 1)
    # What ends before it starts or is too long is judged as a purchase, and counts nothing.
    others = lasting("2025-01-02", "2025-01-01", 9) + lasting("2025-01-01", "2029-01-02", 9)
    parsed(batch(purchases=[*longest, *others, *(day * 1_461), PURCHASE]))
    refusal(batch(purchases=[*longest, *others, *(day * 1_462)]), "too_large")


def test_5000_records_purchases_and_voids_together_are_taken_and_one_more_is_too_large():
    small = RECORD | {"run": MISSING, "state": MISSING, "final": MISSING}
    assert (MAX_BATCH_ITEMS, MAX_BATCH_BYTES) == (5_000, 8 * 1024 * 1024)
    assert len(parsed(batch(records=[small] * 4_999, voids=[VOID])).batch.records) == 4_999
    refusal(batch(records=[small] * 5_000, voids=[VOID]), "too_large")
    refusal(batch(records=[], voids=[VOID] * 5_001), "too_large")
    parsed(batch(records=[small] * 3_000, purchases=[PURCHASE] * 1_999))
    refusal(batch(records=[small] * 3_000, purchases=[PURCHASE] * 2_000), "too_large")


def test_more_than_a_batch_can_hold_is_refused_before_it_is_decoded():
    cut = batch()[:-1]  # no JSON yet: a decoder would say so first
    refusal(cut)
    refusal(cut + b"{}" * MAX_BRACES, "too_large")
    refusal(cut + b'""' * (MAX_QUOTES // 2), "too_large")


def test_texts_may_hold_braces_and_quotes_in_a_batch_of_5000_whole_records():
    odd = RECORD | {"id": 'a{"0', "run": '"', "state": '"""', "final": True}
    assert len(parsed(batch(records=[odd] * 4_998)).batch.records) == 4_998


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b" ",
        b"null",
        b"{}",
        b"[]",
        b"1",
        b'"batch"',
        batch()[:-1],
        batch() + b"]",
        batch() + batch(),
        b"[" + batch() + b"]",
        b"[" * 200_000,
        b'{"a":' * 9_000,
        batch(records=b"[" * 200_000),
        batch().replace(b",", b",,"),
        batch().replace(b'"seq":17', b'"seq":17,'),
        batch().replace(b'"', b"'"),
        b"/* */" + batch(),
    ],
)
def test_what_is_not_a_batch_is_refused(payload):
    refusal(payload)


def test_white_space_around_and_between_is_json_and_taken():
    spaced = json.dumps(BATCH, indent=2).encode()
    assert parsed(b" \n" + spaced + b"\t\r\n").batch == parsed(batch()).batch


def test_the_payload_is_hashed_as_it_came_not_as_it_reads():
    spaced = json.dumps(BATCH, indent=2).encode()
    assert parsed(spaced).payload_sha256 != parsed(batch()).payload_sha256


def test_base64_of_the_payload_is_not_the_payload():
    refusal(base64.b64encode(batch()))
