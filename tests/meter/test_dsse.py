"""Envelopes: signing, reading and refusals."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meter.values.problems import Problem
from meter.wire import dsse
from meter.wire.dsse import BATCH_TYPE, RECEIPT_TYPE, is_signed_by, pae, parse, seal, sign
from tests.books import properties, signer

PAYLOAD = b'{"seq":1}'
KEY = signer("pcl-1")
PUBLIC = KEY.public_key().public_bytes_raw()
SIGNATURE = base64.b64encode(sign(BATCH_TYPE, PAYLOAD, KEY)).decode()


def envelope(**changes) -> bytes:
    document = {
        "payloadType": BATCH_TYPE,
        "payload": base64.b64encode(PAYLOAD).decode(),
        "signatures": [{"keyid": "pcl-1", "sig": SIGNATURE}],
    }
    return json.dumps(document | changes).encode()


def refusal(data: bytes) -> str:
    with pytest.raises(Problem) as refused:
        parse(data, BATCH_TYPE)
    assert refused.value.code == "bad_envelope"
    assert refused.value.status == 400
    return refused.value.detail


def test_the_encoding_that_is_signed_is_the_one_of_the_published_example():
    # secure-systems-lab/dsse, protocol.md
    signed = pae("http://example.com/HelloWorld", b"hello world")
    assert signed == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"


def test_lengths_count_bytes_not_characters():
    assert pae("类型", "卡时".encode()) == "DSSEv1 6 类型 6 卡时".encode()
    assert pae("", b"") == b"DSSEv1 0  0 "


def test_a_sealed_envelope_is_read_back_and_verifies():
    data = seal(BATCH_TYPE, PAYLOAD, "pcl-1", KEY)
    read = parse(data, BATCH_TYPE)
    assert (read.payload, read.keyid, read.payload_type) == (PAYLOAD, "pcl-1", BATCH_TYPE)
    assert is_signed_by(PUBLIC, BATCH_TYPE, read.payload, read.signature)
    assert json.loads(data) == json.loads(envelope())


def test_a_signature_counts_only_for_its_key_its_type_and_its_payload():
    signature = sign(BATCH_TYPE, PAYLOAD, KEY)
    other = signer("pcl-2").public_key().public_bytes_raw()
    assert is_signed_by(PUBLIC, BATCH_TYPE, PAYLOAD, signature)
    assert not is_signed_by(other, BATCH_TYPE, PAYLOAD, signature)
    assert not is_signed_by(PUBLIC, RECEIPT_TYPE, PAYLOAD, signature)
    assert not is_signed_by(PUBLIC, BATCH_TYPE, PAYLOAD + b" ", signature)


def test_any_bit_flipped_in_a_signature_breaks_it():
    signature = sign(BATCH_TYPE, PAYLOAD, KEY)
    for bit in range(len(signature) * 8):
        flipped = bytearray(signature)
        flipped[bit // 8] ^= 1 << bit % 8
        assert not is_signed_by(PUBLIC, BATCH_TYPE, PAYLOAD, bytes(flipped))


@pytest.mark.parametrize("length", [0, 1, 63, 65, 128])
def test_a_signature_of_another_length_does_not_verify_and_does_not_raise(length):
    assert not is_signed_by(PUBLIC, BATCH_TYPE, PAYLOAD, bytes(length))


def test_a_signature_is_the_same_each_time_it_is_made():
    assert sign(BATCH_TYPE, PAYLOAD, KEY) == sign(BATCH_TYPE, PAYLOAD, KEY)


def test_no_signature_and_two_signatures_are_refused():
    one = {"keyid": "pcl-1", "sig": SIGNATURE}
    assert "exactly one" in refusal(envelope(signatures=[]))
    assert "exactly one" in refusal(envelope(signatures=[one, one]))
    assert "exactly one" in refusal(envelope(signatures=[one, one | {"keyid": "pcl-2"}]))


def test_more_than_an_envelope_can_hold_is_refused_before_it_is_decoded():
    one = json.dumps({"keyid": "pcl-1", "sig": SIGNATURE}).encode()
    cut = envelope()[:-2]  # no JSON yet: a decoder would say so first
    assert "truncated" in refusal(cut)
    assert "exactly one" in refusal(cut + b"," + b",".join([one] * 250_000))
    assert "exactly one" in refusal(cut + b',""' * dsse.MAX_QUOTES)
    assert "ASCII" in refusal(cut + "é".encode())


@pytest.mark.parametrize(
    "payload_type",
    [RECEIPT_TYPE, "application/json", BATCH_TYPE.upper(), BATCH_TYPE + " ", ""],
)
def test_another_payload_type_is_refused(payload_type):
    refusal(envelope(payloadType=payload_type))


@pytest.mark.parametrize(
    "text",
    [
        "eyJzZXEiOjF",  # no padding
        "eyJzZXEiOjF9=",
        "eyJzZXEiOjF9\n",
        " eyJzZXEiOjF9",
        "eyJzZXEi OjF9",
        "_-8=",  # the alphabet of URLs
        "QR==",  # a last character with bits that no byte uses
        "QQ=",
        "QQ",
        "Q===",
        "QQ==QQ==",
        "QQ==\u00e9",
        "=",
    ],
)
def test_base64_has_one_spelling(text):
    with pytest.raises(ValueError, match="base64"):
        dsse.decode_base64(text)
    refusal(envelope(payload=text))
    refusal(envelope(signatures=[{"keyid": "pcl-1", "sig": text}]))


@properties
@given(st.binary(max_size=40))
def test_base64_as_it_is_written_is_read(data):
    assert dsse.decode_base64(base64.b64encode(data).decode()) == data


@pytest.mark.parametrize(
    "keyid", ["", "-a", "a b", "a/b", "a:b", "a" * 65, "ключ", "a\n", 7, None, True]
)
def test_a_key_id_that_is_not_an_id_is_refused(keyid):
    refusal(envelope(signatures=[{"keyid": keyid, "sig": SIGNATURE}]))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b'"text"',
        b"7",
        envelope()[:-1],
        envelope() + b"x",
        envelope() + envelope(),
        b"\xef\xbb\xbf" + envelope(),
        envelope().decode().encode("utf-16"),
        envelope(more=1),
        envelope(payloadType=None),
        envelope(payload=None),
        envelope(payload=7),
        envelope(signatures={}),
        envelope(signatures=None),
        envelope(signatures=[SIGNATURE]),
        envelope(signatures=[{"sig": SIGNATURE}]),
        envelope(signatures=[{"keyid": "pcl-1"}]),
        envelope(signatures=[{"keyid": "pcl-1", "sig": SIGNATURE, "alg": "none"}]),
        envelope().replace(b'{"payloadType"', b'{"payloadType":"x","payloadType"'),
        envelope().replace(b'{"keyid"', b'{"keyid":"pcl-2","keyid"'),
        b"[" * 100_000,
        b'{"payload":' * 100_000,
    ],
)
def test_what_is_not_an_envelope_is_refused(data):
    refusal(data)


@properties
@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_no_bytes_make_the_reader_raise_anything_else(data):
    refusal(data)
