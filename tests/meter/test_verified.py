"""From bytes to a verified batch, and what is told of bytes that nobody signed."""

import base64
import json

import pytest

from meter.rules import verified as module
from meter.rules.entries import KeyRegistered
from meter.rules.state import Key
from meter.rules.verified import verified
from meter.values.problems import Problem
from meter.wire.batch import MAX_BATCH_BYTES
from meter.wire.dsse import BATCH_TYPE, seal
from tests.books import ORIGIN, micros, public_text, signer

BATCH = {"log": ORIGIN, "provider": "pcl", "stream": "main", "seq": 1, "voids": [], "records": []}


def key(keyid: str) -> Key:
    registered = KeyRegistered(
        at=micros("2025-03-01T12:00:00+08:00"),
        by="op",
        postings=[],
        request="r",
        person="op",
        salt="00" * 16,
        provider="pcl",
        keyid=keyid,
        algorithm="ed25519",
        public_key=public_text(signer(keyid)),
        proof="",
    )
    return Key(1, registered, signer(keyid).public_key().public_bytes_raw())


KEYS = {keyid: key(keyid) for keyid in ("pcl-1", "pcl-2")}


def envelope(keyid: str = "pcl-1", by: str = "pcl-1", **changes) -> bytes:
    return seal(BATCH_TYPE, json.dumps(BATCH | changes).encode(), keyid, signer(by))


def refusal(data: bytes) -> tuple[str, str]:
    with pytest.raises(Problem) as problem:
        verified(KEYS, data)
    return problem.value.code, problem.value.detail


@pytest.mark.parametrize("keyid", KEYS)
def test_a_batch_is_read_once_its_key_has_signed_it(keyid):
    signed = verified(KEYS, envelope(keyid, keyid))
    assert (signed.keyid, signed.envelope) == (keyid, envelope(keyid, keyid))
    assert (signed.batch.provider, signed.batch.stream, signed.batch.seq) == ("pcl", "main", 1)


def test_whoever_signs_with_another_key_learns_as_much_as_with_an_unknown_one():
    for data in (envelope(by="pcl-2"), envelope("pcl-2"), envelope("none", "none")):
        keyid = json.loads(data)["signatures"][0]["keyid"]
        told = f"no registered key {keyid} signed the payload"
        assert refusal(data) == ("bad_signature", told)


def test_an_unknown_key_costs_a_verification_too_by_a_key_that_nobody_has(monkeypatch):
    asked = []

    def is_signed_by(public_key, *_):
        asked.append(public_key)
        return True

    monkeypatch.setattr(module, "is_signed_by", is_signed_by)
    assert refusal(envelope("none", "none"))[0] == "bad_signature"
    # The base point of RFC 8032 section 5.1: y = 4/5, and x is even.
    assert asked == [(4 * pow(5, -1, 2**255 - 19) % (2**255 - 19)).to_bytes(32, "little")]


def test_the_signature_is_checked_before_the_payload_is_read():
    assert refusal(envelope(by="pcl-2", seq="one"))[0] == "bad_signature"
    assert refusal(envelope(seq="one"))[0] == "bad_batch"


def test_an_envelope_of_the_largest_size_is_read_and_one_byte_more_is_refused():
    space = b" " * (MAX_BATCH_BYTES - len(envelope()))
    assert verified(KEYS, envelope() + space).envelope == envelope() + space
    told = f"more than {MAX_BATCH_BYTES} bytes"
    assert refusal(envelope() + space + b" ") == ("too_large", told)


def test_what_is_no_envelope_is_refused_as_such():
    payload = base64.b64encode(json.dumps(BATCH).encode()).decode()
    for data in (b"", b"{}", payload.encode(), envelope()[:-1]):
        assert refusal(data)[0] == "bad_envelope"
