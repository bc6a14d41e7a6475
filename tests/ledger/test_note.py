import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.bundle import encode_bundle
from ledger.errors import BadKey, BadNote, LedgerError
from ledger.note import (
    MAX_NOTE_BYTES,
    MAX_SIGNATURES,
    Checkpoint,
    Signer,
    Verifier,
    claimed_checkpoint,
    format_signature,
    open_checkpoint,
    open_note,
    sign,
    split_note,
)
from ledger.tlog import EMPTY_ROOT, Tree, check_inclusion, leaf_hash

# The example that two other implementations accept: three entries, a log and its witness.
ENTRIES = [b"alpha", b"beta", b"gamma"]
VKEY = "example.com/log+d455c521+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4"
SKEY = "PRIVATE+KEY+example.com/log+d455c521+AQABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"
WITNESS_VKEY = "example.com/w1+4bafb710+BCmsuuFBvMrwsi4alNNNC8c2HlJtC/4SyJeUvJMilm3X"
TEXT = "example.com/log\n3\nOF2jDzkXKCyJOd/4UZV+UZqxhGsTUaFMCts7EWMnQqo=\n"
LINE = (
    "— example.com/log 1FXFIdzWOMUF5pSezGt/DmachpVXciLFKKnZ+sgRl97K9vchkGNZ+yCxWnHYduoR"
    "dIk6cnzBL/mXmCHblaLJwlXARAI=\n"
)
WITNESS_LINE = (
    "— example.com/w1 S6+3EAAAAABpVbkA9ttiY9BmmzcHmrzGLP/Qy+x9ZqN0l38T+ccP7vUpBk4OUA5p"
    "kYJHWBcNu2llOlsbW7ap/Rgu6ZH2HdO0M4WuCg==\n"
)
NOTE = f"{TEXT}\n{LINE}".encode()
PROOF = [
    "KhWNiv1I4/iMtBld/bKp5IF9lfpX/TREDZP5quXE+Cs=",
    "THnQ1i989cqIdBVfLTuHXyYl2iuzq8hrvWgz8lupDlE=",
]

LOG = Signer.from_seed("example.com/log", bytes(range(32)))
OTHER = Signer.from_seed("example.com/other", bytes(range(32, 64)))


def refused(data, *verifiers):
    with pytest.raises(BadNote) as error:
        open_note(data, verifiers or (LOG.verifier,))
    return error.value.detail


def test_the_worked_example_comes_out_byte_for_byte():
    tree = Tree()
    for entry in ENTRIES:
        tree.append(leaf_hash(entry))
    assert [leaf_hash(entry).hex()[:8] for entry in ENTRIES] == ["2a158d8a", "e23537b0", "4c79d0d6"]
    assert base64.b64encode(tree.root(2)) == b"mDy1fATN3VJjTtqzinvvhXCKl08RS72aqexdTOZla0s="
    expected = "385da30f3917282c8939dff851957e519ab1846b1351a14c0adb3b11632742aa"
    assert tree.root().hex() == expected
    assert [base64.b64encode(h).decode() for h in tree.consistency_proof(2, 3)] == PROOF[1:]
    assert [base64.b64encode(h).decode() for h in tree.inclusion_proof(1, 3)] == PROOF
    assert tree.tile_hashes(0, 0, 3) == b"".join(map(leaf_hash, ENTRIES))
    assert encode_bundle(ENTRIES).hex() == "0005616c706861000462657461000567616d6d61"
    assert sign(Checkpoint("example.com/log", 3, tree.root()).format(), LOG) == NOTE


def test_the_worked_example_is_read_with_the_witness_unknown():
    checkpoint = open_checkpoint(NOTE + WITNESS_LINE.encode(), Verifier.parse(VKEY))
    proof = [base64.b64decode(line) for line in PROOF]
    check_inclusion(leaf_hash(b"beta"), 1, checkpoint.size, checkpoint.root, proof)
    assert checkpoint.format() == TEXT


def test_the_keys_of_the_worked_example_are_read_and_written():
    assert LOG.verifier.public_key.hex()[:8] == "03a107bf"
    assert LOG.verifier.key_id.hex() == "d455c521"
    assert LOG.verifier.format() == VKEY
    assert LOG.format() == SKEY
    assert Verifier.parse(VKEY) == LOG.verifier
    assert Signer.parse(SKEY).verifier == LOG.verifier


@pytest.mark.parametrize(
    "text",
    [
        "",
        "example.com/log",
        "example.com/log+d455c521",
        WITNESS_VKEY,
        VKEY + "\n",
        " " + VKEY,
        VKEY.replace("d455c521", "D455C521"),
        VKEY.replace("d455c521", "d455c520"),
        VKEY.replace("d455c521", "455c521"),
        VKEY.replace("example", "exämple"),
        VKEY.replace("example.com/log", ""),
        VKEY.replace("example.com/log", "a b"),
        VKEY.replace("example.com/log", "a\u00a0b"),
        VKEY.replace("example.com/log", "a\udc80"),
        VKEY.replace("VTG4", "VTG5"),
        VKEY[:-4],
        VKEY + "AAAA",
        VKEY.replace("/", "_"),
        SKEY,
    ],
)
def test_a_public_key_in_another_spelling_is_refused(text):
    with pytest.raises(BadKey):
        Verifier.parse(text)


@pytest.mark.parametrize(
    "text",
    ["", VKEY, SKEY[1:], SKEY + "\n", SKEY.replace("d455", "D455"), SKEY[:-1] + "g", SKEY[:-4]],
)
def test_a_private_key_in_another_spelling_is_refused_and_not_repeated(text):
    with pytest.raises(BadKey) as error:
        Signer.parse(text)
    assert "AQAB" not in str(error.value)
    assert SKEY not in repr(LOG)


def test_a_note_is_read_back_with_all_known_signatures():
    text = "first line\n\n— not a signature\n\n"
    note = open_note(sign(text, LOG, OTHER), [OTHER.verifier, LOG.verifier])
    assert note.text == text
    assert [signature.name for signature in note.signatures] == [LOG.name, OTHER.name]


def test_a_text_may_be_one_empty_line():
    assert open_note(sign("\n", LOG), [LOG.verifier]).text == "\n"


def test_a_note_is_refused_when_one_known_signature_fails_though_another_holds():
    changed = sign(TEXT, LOG) + sign("another text\n", OTHER).split(b"\n\n")[1]
    assert open_note(changed, [LOG.verifier]).text == TEXT
    assert "does not fit" in refused(changed, LOG.verifier, OTHER.verifier)


def test_a_note_that_nobody_known_has_signed_is_refused():
    assert "none of the known" in refused(sign(TEXT, OTHER))
    same_name = Signer.from_seed(LOG.name, bytes(32))
    assert "none of the known" in refused(sign(TEXT, same_name))


def test_a_known_key_signs_once():
    assert "twice" in refused(NOTE + LINE.encode())
    with pytest.raises(BadNote):
        sign(TEXT, LOG, LOG)
    with pytest.raises(BadNote):
        sign(TEXT)


def test_unknown_lines_are_ignored_up_to_a_limit():
    line = WITNESS_LINE.encode()
    assert MAX_SIGNATURES == 100
    assert open_note(NOTE + line * (MAX_SIGNATURES - 1), [LOG.verifier]).text == TEXT
    assert "at most" in refused(NOTE + line * MAX_SIGNATURES)
    assert "at most" in refused(NOTE + b"x" * MAX_NOTE_BYTES)


def test_every_bit_of_a_checkpoint_counts():
    for place in range(len(NOTE)):
        for bit in range(8):
            changed = bytearray(NOTE)
            changed[place] ^= 1 << bit
            with pytest.raises(BadNote):
                open_checkpoint(bytes(changed), LOG.verifier)


@pytest.mark.parametrize(
    "note",
    [
        b"",
        b"\n\n",
        TEXT.encode(),
        TEXT.encode() + b"\n",
        NOTE.removesuffix(b"\n"),
        NOTE + b"\n",
        NOTE.replace(b"\n", b"\r\n"),
        NOTE.replace(b"3", b"3\t"),
        NOTE.replace("—".encode(), b"-"),
        NOTE.replace("— ".encode(), "—".encode()),
        NOTE.replace("— ".encode(), "—  ".encode()),
        NOTE.replace(b"log 1F", b"log  1F"),
        NOTE.replace(b"AI=\n", b"AI= \n"),
        NOTE.replace(b"AI=\n", b"AJ=\n"),
        NOTE.replace(b"AI=\n", b"AI\n"),
        NOTE.replace(b"AI=\n", b"AI=\n\xff\n"),
        NOTE + b"not a signature\n",
        NOTE + "— name \n".encode(),
        NOTE + "— name AAAAAA==\n".encode(),
        NOTE + "— na+me AAAAAAA=\n".encode(),
        NOTE + "— na\u3000me AAAAAAA=\n".encode(),
        NOTE[len(TEXT) :],
    ],
)
def test_a_note_in_another_spelling_is_refused(note):
    refused(note)


def signed(text):
    """Sign a text, whatever it holds."""
    line = format_signature(LOG.verifier, LOG.signature(text))
    return f"{text}\n{line}".encode()


CONTROL_CHARACTERS = [chr(code) for code in range(0x20) if chr(code) != "\n"]
UNWRITABLE = [*CONTROL_CHARACTERS, "\ud800"]


@pytest.mark.parametrize("control", CONTROL_CHARACTERS)
def test_a_note_with_a_control_character_is_refused_though_it_is_well_signed(control):
    assert "control character" in refused(signed(f"a{control}b\n"))
    assert "control character" in refused(signed(TEXT) + f"{LINE[:-1]}{control}\n".encode())


def test_a_note_without_its_last_line_feed_is_refused_though_it_is_well_signed():
    assert open_note(signed(TEXT), [LOG.verifier]).text == TEXT
    assert "an empty line, and lines" in refused(signed(TEXT).removesuffix(b"\n"))


def test_lines_of_signatures_are_no_note_without_a_text():
    with pytest.raises(BadNote, match="an empty line"):
        split_note(LINE.encode())


def test_the_largest_note_is_read_and_one_byte_more_is_not():
    rest = len(signed("\n"))
    largest = signed("x" * (MAX_NOTE_BYTES - rest) + "\n")
    assert len(largest) == MAX_NOTE_BYTES == 1_000_000
    assert len(open_note(largest, [LOG.verifier]).text) == MAX_NOTE_BYTES - rest + 1
    larger = signed("x" * (MAX_NOTE_BYTES - rest + 1) + "\n")
    assert refused(larger) == f"a note has at most {MAX_NOTE_BYTES} bytes"


@pytest.mark.parametrize(
    "text", ["", "no end", "\ud800\n", *(f"{c}\n" for c in CONTROL_CHARACTERS)]
)
def test_a_text_that_no_note_can_hold_is_not_signed(text):
    with pytest.raises(BadNote, match="whole lines without control characters"):
        sign(text, LOG)


@pytest.mark.parametrize("origin", ["", "a\nb", "a\n", "\na", *UNWRITABLE])
def test_an_origin_is_one_line_without_control_characters(origin):
    with pytest.raises(BadNote, match="cannot be an origin"):
        Checkpoint(origin, 0, EMPTY_ROOT)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "log\n3\n",
        TEXT[:-1],
        TEXT + "\n",
        TEXT + "extension\n",
        TEXT + "x",
        "\n" + TEXT,
        TEXT.replace("\n3\n", "\n03\n"),
        TEXT.replace("\n3\n", "\n+3\n"),
        TEXT.replace("\n3\n", "\n-3\n"),
        TEXT.replace("\n3\n", "\n3 \n"),
        TEXT.replace("\n3\n", "\n３\n"),
        TEXT.replace("\n3\n", "\n9223372036854775808\n"),
        TEXT.replace("\n3\n", f"\n{'9' * 5000}\n"),
        TEXT.replace("Qqo=", "Qqp="),
        TEXT.replace("Qqo=", "Qqo"),
        TEXT.replace("OF2j", ""),
        TEXT.replace("example.com/log", ""),
        TEXT.replace("example", "\t"),
    ],
)
def test_a_checkpoint_in_another_spelling_is_refused(text):
    with pytest.raises(BadNote):
        Checkpoint.parse(text)


def test_the_checkpoint_of_a_note_is_read_whoever_signed_it():
    assert claimed_checkpoint(sign(TEXT, OTHER)) == Checkpoint.parse(TEXT)


def test_a_log_may_have_as_many_entries_as_63_bits_can_count():
    largest = TEXT.replace("\n3\n", "\n9223372036854775807\n")
    assert Checkpoint.parse(largest).size == 2**63 - 1
    assert Checkpoint.parse(largest).format() == largest


@given(st.text(min_size=1), st.integers(), st.binary(min_size=31, max_size=33))
def test_a_checkpoint_that_can_be_made_is_read_back(origin, size, root):
    try:
        checkpoint = Checkpoint(origin, size, root)
    except BadNote:
        return
    assert Checkpoint.parse(checkpoint.format()) == checkpoint


def test_a_checkpoint_is_of_the_log_whose_key_has_signed_it():
    text = Checkpoint("example.com/another", 0, EMPTY_ROOT).format()
    with pytest.raises(BadNote):
        open_checkpoint(sign(text, LOG), LOG.verifier)


def test_two_known_keys_that_share_name_and_id_are_refused(monkeypatch):
    monkeypatch.setattr(Verifier, "key_id", b"same")
    other = Verifier(LOG.name, OTHER.verifier.public_key)
    assert refused(NOTE, LOG.verifier, other) == "two known keys have the same name and id"


mixed_bytes = st.binary(max_size=300) | st.builds(
    lambda text, start, end, new: text[:start] + new + text[end:],
    st.sampled_from([NOTE, VKEY.encode(), SKEY.encode(), TEXT.encode()]),
    st.integers(0, 300),
    st.integers(0, 300),
    st.binary(max_size=8),
)


@given(mixed_bytes)
def test_whatever_bytes_raise_only_errors_of_the_ledger(data):
    text = data.decode("utf-8", "surrogateescape")
    for read in (
        lambda: open_note(data, [LOG.verifier]),
        lambda: Checkpoint.parse(text),
        lambda: Verifier.parse(text),
        lambda: Signer.parse(text),
    ):
        try:
            read()
        except LedgerError as error:
            str(error).encode()
