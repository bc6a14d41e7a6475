import base64
import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ledger.cosign import (
    MAX_TIME,
    CosignatureVerifier,
    Cosigned,
    Cosigner,
    add_cosignatures,
    open_cosigned,
)
from ledger.errors import BadKey, BadNote, LedgerError
from ledger.note import MAX_SIGNATURES, Checkpoint, Signer, Verifier, format_signature, sign
from tests.ledger.example import (
    COSIGNED,
    LOG,
    LOG_LINE,
    LOG_VKEY,
    SIGNED,
    TEXT,
    TIME,
    WITNESS,
    WITNESS_LINE,
    WITNESS_SKEY,
    WITNESS_VKEY,
    flips,
)

OTHER = Cosigner.from_seed("example.com/w2", bytes(32))
CHECKPOINT = Checkpoint.parse(TEXT)


def opened(data, *cosigners):
    return open_cosigned(data, LOG.verifier, [each.verifier for each in cosigners or (WITNESS,)])


def refused(data, *cosigners):
    with pytest.raises(BadNote) as error:
        opened(data, *cosigners)
    return error.value.detail


def noted(*lines):
    return SIGNED + "".join(lines).encode()


def test_the_worked_example_comes_out_byte_for_byte():
    assert WITNESS.cosign(TEXT, TIME) == WITNESS_LINE
    assert add_cosignatures(SIGNED, [WITNESS_LINE]) == COSIGNED
    assert WITNESS.verifier.key_id.hex() == "4bafb710"
    assert WITNESS.verifier.format() == WITNESS_VKEY
    assert WITNESS.format() == WITNESS_SKEY


def test_the_worked_example_is_read():
    assert opened(COSIGNED) == Cosigned(CHECKPOINT, {"example.com/w1": TIME})
    assert CosignatureVerifier.parse(WITNESS_VKEY) == WITNESS.verifier
    assert Cosigner.parse(WITNESS_SKEY).cosign(TEXT, TIME) == WITNESS_LINE


@pytest.mark.parametrize(
    "text",
    [
        "",
        LOG_VKEY,
        WITNESS_VKEY + "\n",
        " " + WITNESS_VKEY,
        WITNESS_VKEY.replace("4bafb710", "4BAFB710"),
        WITNESS_VKEY.replace("4bafb710", "4bafb711"),
        WITNESS_VKEY.replace("w1", "w2"),
        WITNESS_VKEY.replace("+BC", "+AS"),
        WITNESS_VKEY.replace("+BC", "+Bi"),
        WITNESS_VKEY[:-4],
        WITNESS_SKEY,
    ],
)
def test_a_public_key_in_another_spelling_is_refused(text):
    with pytest.raises(BadKey):
        CosignatureVerifier.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        WITNESS_VKEY,
        LOG.format(),
        WITNESS_SKEY[1:],
        WITNESS_SKEY + "\n",
        WITNESS_SKEY.replace("4baf", "4BAF"),
        WITNESS_SKEY.replace("w1", "w2"),
        WITNESS_SKEY[:-4],
    ],
)
def test_a_private_key_in_another_spelling_is_refused_and_not_repeated(text):
    with pytest.raises(BadKey) as error:
        Cosigner.parse(text)
    assert "BCAh" not in str(error.value)
    assert WITNESS_SKEY not in repr(WITNESS)


def test_the_keys_of_logs_and_of_cosigners_are_not_taken_for_each_other():
    with pytest.raises(BadKey):
        Verifier.parse(WITNESS_VKEY)
    with pytest.raises(BadKey):
        Signer.parse(WITNESS_SKEY)
    same_key = Cosigner.from_seed(LOG.name, bytes(range(32)))
    assert same_key.verifier.public_key == LOG.verifier.public_key
    assert same_key.verifier != LOG.verifier
    assert opened(COSIGNED, same_key).times == {}


def test_every_bit_of_a_cosigned_checkpoint_counts_or_makes_the_cosigner_unknown():
    # Beyond the dash, the name and the key's id, which is the first part of the base64.
    who = range(len(SIGNED), len(SIGNED) + len("— example.com/w1 S6+3EA".encode()))
    forgotten = set()
    for place, changed in flips(COSIGNED):
        try:
            assert opened(changed) == Cosigned(CHECKPOINT, {})
        except BadNote:
            continue
        forgotten.add(place)
    assert forgotten
    assert forgotten <= set(who)


def test_lines_of_unknown_keys_are_ignored_and_those_of_known_ones_keep_their_order():
    lines = [OTHER.cosign(TEXT, TIME - 1), WITNESS_LINE]
    assert opened(SIGNED).times == {}
    assert opened(noted(*lines)).times == {WITNESS.name: TIME}
    both = opened(noted(*lines), WITNESS, OTHER)
    assert list(both.times.items()) == [(OTHER.name, TIME - 1), (WITNESS.name, TIME)]


def test_a_line_of_another_key_under_the_same_name_is_of_an_unknown_key():
    namesake = Cosigner.from_seed(WITNESS.name, bytes(32))
    assert opened(noted(namesake.cosign(TEXT, TIME), WITNESS_LINE)).times == {WITNESS.name: TIME}


def test_a_wrong_line_of_a_known_cosigner_spoils_the_note_though_all_others_hold():
    time, signature = struct.pack(">Q", TIME), WITNESS._key.sign(TEXT.encode())
    lines = [
        WITNESS.cosign(Checkpoint(LOG.name, 4, bytes(32)).format(), TIME),
        *(format_signature(WITNESS.verifier, blob) for blob in (b"\0", time, signature)),
        # As a log signs, though with the time in front.
        format_signature(WITNESS.verifier, time + signature),
    ]
    for line in lines:
        data = noted(OTHER.cosign(TEXT, TIME), line)
        assert opened(data, OTHER).times == {OTHER.name: TIME}
        assert "does not fit" in refused(data, OTHER, WITNESS)


def test_a_known_cosigner_signs_once():
    assert "twice" in refused(noted(WITNESS_LINE, WITNESS_LINE))
    assert "twice" in refused(noted(WITNESS_LINE, WITNESS.cosign(TEXT, TIME + 1)))


def test_a_cosigned_checkpoint_needs_the_signature_of_its_log():
    lines = SIGNED.decode().removesuffix(LOG_LINE) + WITNESS_LINE
    assert "none of the known" in refused(lines.encode())
    other_log = Signer.from_seed("example.com/log", bytes(32))
    assert "none of the known" in refused(sign(TEXT, other_log) + WITNESS_LINE.encode())
    assert "does not fit" in refused(COSIGNED.replace(b"dIk6", b"dIk7"))


def test_two_known_cosigners_of_one_name_are_refused():
    namesake = Cosigner.from_seed(WITNESS.name, bytes(32))
    assert "same name" in refused(COSIGNED, WITNESS, namesake)
    assert opened(COSIGNED, WITNESS, WITNESS).times == {WITNESS.name: TIME}


@example(2**63 - 1)
@given(st.integers(0, MAX_TIME))
def test_any_time_that_can_be_signed_is_read_back(time):
    assert opened(noted(WITNESS.cosign(TEXT, time))).times == {WITNESS.name: time}


@pytest.mark.parametrize("time", [-1, 2**63, 2**64])
def test_a_time_that_cannot_be_is_not_signed(time):
    with pytest.raises(BadNote):
        WITNESS.cosign(TEXT, time)


def test_a_time_that_cannot_be_is_not_believed_though_it_was_signed():
    time = MAX_TIME + 1
    signature = OTHER._key.sign(f"cosignature/v1\ntime {time}\n{TEXT}".encode())
    blob = struct.pack(">Q", time) + signature
    assert OTHER.verifier.verifies(f"cosignature/v1\ntime {time}\n{TEXT}".encode(), blob[8:])
    assert OTHER.verifier.cosigned_at(TEXT, blob) is None
    refused(noted(format_signature(OTHER.verifier, blob)), OTHER)


@pytest.mark.parametrize("text", ["", "a text\n", TEXT[:-1], TEXT + "extension\n", SIGNED.decode()])
def test_a_cosigner_signs_nothing_but_a_checkpoint(text):
    with pytest.raises(BadNote):
        WITNESS.cosign(text, TIME)


def test_a_cosignature_is_added_once_and_all_before_it_stays():
    stranger = "— example.com/x AAAAAAA=\n"
    lines = [WITNESS_LINE, stranger, WITNESS.cosign(TEXT, TIME + 1), OTHER.cosign(TEXT, TIME)]
    note = add_cosignatures(SIGNED, lines)
    assert note == noted(WITNESS_LINE, stranger, lines[3])
    assert add_cosignatures(note, lines) == note
    assert add_cosignatures(SIGNED, []) == SIGNED
    assert add_cosignatures(SIGNED, [LOG_LINE]) == SIGNED


@pytest.mark.parametrize(
    "line",
    [
        "",
        "\n",
        TEXT,
        WITNESS_LINE.removesuffix("\n"),
        WITNESS_LINE + WITNESS_LINE,
        "\n" + WITNESS_LINE,
        WITNESS_LINE.replace("\n", "\r\n"),
        WITNESS_LINE.replace("—", "-"),
        WITNESS_LINE.replace("Cg==", "Ch=="),
    ],
)
def test_what_is_no_line_of_a_signature_is_not_added(line):
    with pytest.raises(BadNote):
        add_cosignatures(SIGNED, [line])


def test_a_note_takes_no_more_lines_than_can_be_read():
    lines = [f"— example.com/x{number} AAAAAAA=\n" for number in range(MAX_SIGNATURES)]
    assert opened(add_cosignatures(SIGNED, lines[1:])).checkpoint == CHECKPOINT
    with pytest.raises(BadNote):
        add_cosignatures(SIGNED, lines)


mixed_bytes = st.binary(max_size=300) | st.builds(
    lambda text, start, end, new: text[:start] + new + text[end:],
    st.sampled_from([COSIGNED, WITNESS_VKEY.encode(), WITNESS_SKEY.encode()]),
    st.integers(0, 400),
    st.integers(0, 400),
    st.binary(max_size=8) | st.binary(min_size=72, max_size=80).map(base64.b64encode),
)


@given(mixed_bytes)
def test_whatever_bytes_raise_only_errors_of_the_ledger(data):
    text = data.decode("utf-8", "surrogateescape")
    for read in (
        lambda: opened(data),
        lambda: add_cosignatures(data, [WITNESS_LINE]),
        lambda: add_cosignatures(SIGNED, [text]),
        lambda: CosignatureVerifier.parse(text),
        lambda: Cosigner.parse(text),
        lambda: WITNESS.cosign(text, TIME),
    ):
        try:
            read()
        except LedgerError as error:
            str(error).encode()
