"""Bearer tokens: their form, and the hashes that the service keeps."""

import contextlib
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meter.host.tokens import TOKEN_ID, Identity, KnownToken, Token, new_token, parse_header
from meter.values.problems import Problem
from tests.books import properties


def kept(token: Token, expires_at: int | None = None, *, revoked: bool = False) -> KnownToken:
    """Return what the service keeps of a token."""
    return KnownToken(Identity(token.id, "authority"), token.digest, expires_at, revoked)


def test_what_the_holder_sends_gives_the_id_and_the_digest_that_is_kept():
    token = new_token("officer.2")
    name, digest = parse_header(f"Bearer {token.text}")
    assert name == token.id == "officer.2"
    assert kept(token).admits(digest, now=0)
    secret = token.text.removeprefix("officer.2.")
    assert digest == sha256(secret.encode()).digest()
    assert secret not in repr(token) + repr(kept(token))


def test_each_token_has_a_fresh_secret_of_256_bits():
    tokens = [new_token("same") for _ in range(100)]
    assert len({token.digest for token in tokens}) == 100
    assert {len(token.text.removeprefix("same.")) for token in tokens} == {43}


def test_one_changed_character_is_another_digest():
    token = new_token("a")
    for at in range(len("a."), len(token.text)):
        other = "A" if token.text[at] != "A" else "B"
        changed = token.text[:at] + other + token.text[at + 1 :]
        assert not kept(token).admits(parse_header(f"Bearer {changed}")[1], now=0)


def test_a_token_opens_until_the_instant_at_which_it_expires():
    token = new_token("a")
    until = kept(token, expires_at=1_000)
    assert [until.admits(token.digest, now) for now in (0, 999, 1_000, 1_001)] == [
        *(True, True, False, False)
    ]
    assert kept(token).admits(token.digest, now=10**18)


def test_a_revoked_token_opens_nothing():
    token = new_token("a")
    assert not kept(token, revoked=True).admits(token.digest, now=0)
    assert not kept(token, expires_at=1_000, revoked=True).admits(token.digest, now=0)


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
