"""Bearer tokens: their form, and what the service keeps of them."""

import contextlib
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meter.auth import TOKEN_ID, new_token, parse_header, same_digest
from meter.problems import Problem
from tests.books import properties


def test_what_the_holder_sends_gives_the_id_and_the_digest_that_is_kept():
    token = new_token("officer.2")
    name, digest = parse_header(f"Bearer {token.text}")
    assert name == token.id == "officer.2"
    assert same_digest(digest, token.digest)
    secret = token.text.removeprefix("officer.2.")
    assert digest == sha256(secret.encode()).digest()
    assert secret not in repr((token.id, token.digest))


def test_each_token_has_a_fresh_secret_of_256_bits():
    tokens = [new_token("same") for _ in range(100)]
    assert len({token.digest for token in tokens}) == 100
    assert {len(token.text.removeprefix("same.")) for token in tokens} == {43}


def test_one_changed_character_is_another_digest():
    token = new_token("a")
    for at in range(len("a."), len(token.text)):
        other = "A" if token.text[at] != "A" else "B"
        changed = token.text[:at] + other + token.text[at + 1 :]
        assert not same_digest(parse_header(f"Bearer {changed}")[1], token.digest)


@pytest.mark.parametrize(
    "header",
    [
        *("", "Bearer", "Bearer ", "Bearer a", "Bearer .", "Bearer a.", "Bearer .a", "Basic a.b"),
        *("Bearer  a.b", "Bearer a.b ", "Bearer a.b\n", "Bearer a b.c", "Bearer a:b.c", "a.b"),
        *("Bearer é.b", "Bearer a.é", "Bearer \udcff.b", "Bearer a.\udcff", "Bearer a.b,c"),
        *("Bearer " + "a" * 65 + ".b", "Bearer a." + "b" * 129, "Bearer -a.b", "Bearer a.b/c"),
    ],
)
def test_a_header_of_another_form_is_unauthorized(header):
    with pytest.raises(Problem) as refused:
        parse_header(header)
    assert refused.value.code == "unauthorized"
    assert len(refused.value.detail) < 100


@properties
@given(st.text() | st.from_regex(r"Bearer .*"))
def test_no_header_does_anything_else(header):
    with contextlib.suppress(Problem):
        name, digest = parse_header(header)
        assert TOKEN_ID.fullmatch(name)
        assert len(digest) == 32
