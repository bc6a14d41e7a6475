"""Weak keys, made by the tests' own arithmetic (`tests/vectors/curve.py`)."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger import ed25519
from ledger.cosign import CosignatureVerifier
from ledger.errors import BadKey, BadPolicy, WeakKey
from ledger.note import PublicKey, Verifier
from ledger.quorum import TrustPolicy
from tests.ledger.example import LOG, LOG_VKEY, TEXT, WITNESS_VKEY
from tests.vectors import curve
from tests.vectors.key import vkey as vkey_of
from tests.vectors.plain import GROUP_ORDER

GOOD = LOG.verifier.public_key
WEAK = curve.weak_keys(GOOD)
FORGED = curve.encode(curve.IDENTITY) + bytes(32)

# The textbook's formulas take their time.
properties = settings(deadline=None, max_examples=30)
weak_keys = pytest.mark.parametrize("key", WEAK.values(), ids=WEAK)


def weakness(key: bytes) -> str:
    with pytest.raises(WeakKey) as refused:
        ed25519.check(key)
    assert refused.value.code == "weak_key"
    assert key.hex() not in str(refused.value)
    return refused.value.detail


def vkey(kind: type[PublicKey], key: bytes) -> str:
    """Return the text of a key under the right id, without our code."""
    return vkey_of(kind.key_type + key).decode()


# The points are what their names say


def test_there_are_eight_points_of_small_order_and_each_is_another():
    assert len({*curve.small().values()}) == 8
    assert sorted(map(curve.order, curve.SMALL_ORDER)) == [1, 2, 4, 4, 8, 8, 8, 8]
    assert curve.encode(curve.IDENTITY).hex() == "01" + 31 * "00"


def test_a_mixed_key_is_outside_the_subgroup_by_just_its_small_part():
    for size, key in zip((2, 4, 8), curve.mixed(GOOD).values(), strict=True):
        part = curve.times(GROUP_ORDER, curve.decode(key))
        assert curve.order(part) == size
    assert curve.times(GROUP_ORDER, curve.decode(GOOD)) == curve.IDENTITY


# Good and weak


@weak_keys
def test_a_weak_key_is_refused(key):
    weakness(key)


def test_the_reason_says_which_kind_of_weak_key_it_is():
    for kind, words in (
        (curve.small(), "small order"),
        (curve.respelled(), "canonical"),
        (curve.mixed(GOOD), "outside the prime-order subgroup"),
        (curve.off(), "canonical"),
    ):
        for name, key in kind.items():
            assert words in weakness(key), name


@properties
@given(st.binary(min_size=32, max_size=32))
def test_a_key_that_was_made_from_a_seed_is_good(seed):
    ed25519.check(Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw())


@properties
@given(st.integers(1, GROUP_ORDER - 1))
def test_of_a_good_key_all_multiples_are_good_and_none_with_a_small_part(factor):
    point = curve.times(factor, curve.decode(GOOD))
    ed25519.check(curve.encode(point))
    for small in curve.SMALL_ORDER[1:]:
        assert "outside" in weakness(curve.encode(curve.add(point, small)))


@pytest.mark.parametrize("key", [b"", GOOD[:-1], GOOD + b"\0"])
def test_a_key_of_another_length_is_no_key(key):
    with pytest.raises(BadKey, match="32 bytes") as refused:
        ed25519.check(key)
    assert refused.value.code == "bad_key"
    assert not ed25519.has_signed(key, b"", bytes(64))


@properties
@given(st.binary(min_size=32, max_size=32), st.binary(), st.binary(max_size=70))
def test_whatever_bytes_are_a_key_or_not_nothing_else_is_raised(key, message, signature):
    assert ed25519.has_signed(key, message, signature) is False


# Signatures


def test_a_good_key_has_signed_what_it_signed():
    signature = LOG.signature(TEXT)
    assert ed25519.has_signed(GOOD, TEXT.encode(), signature)
    assert not ed25519.has_signed(GOOD, TEXT.encode() + b"x", signature)
    assert not ed25519.has_signed(GOOD, TEXT.encode(), signature[:-1])


@properties
@given(st.binary())
def test_one_signature_would_hold_for_every_message_under_the_identity(message):
    identity = curve.encode(curve.IDENTITY)
    Ed25519PublicKey.from_public_bytes(identity).verify(FORGED, message)  # the library takes it
    assert not ed25519.has_signed(identity, message, FORGED)


# Whoever reads a key of a log or of a witness


@weak_keys
@pytest.mark.parametrize("kind", [Verifier, CosignatureVerifier])
def test_no_weak_key_is_that_of_a_log_or_of_a_witness(kind, key):
    with pytest.raises(WeakKey):
        kind.parse(vkey(kind, key))
    with pytest.raises(WeakKey):
        kind(LOG.name, key)


def test_the_texts_in_which_weak_keys_stand_here_have_the_form_of_a_key():
    assert vkey(Verifier, GOOD) == LOG_VKEY
    assert Verifier.parse(vkey(Verifier, GOOD)).has_signed(TEXT, LOG.signature(TEXT))


@weak_keys
def test_no_weak_key_stands_in_a_trust_policy(key):
    bad_log = f"log {vkey(Verifier, key)}\nwitness w {WITNESS_VKEY}\nquorum w\n"
    bad_witness = f"log {LOG_VKEY}\nwitness w {vkey(CosignatureVerifier, key)}\nquorum w\n"
    for line, text in enumerate((bad_log, bad_witness), 1):
        with pytest.raises(BadPolicy, match="the public key is") as refused:
            TrustPolicy.parse(text)
        assert refused.value.line == line
