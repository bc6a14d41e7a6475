"""Who may send a batch: the key, its provider, the log and its genesis."""

import pytest

from meter.rules.decide import decide
from meter.values.problems import Problem
from meter.wire import dsse
from meter.wire.batch import parse_batch
from meter.wire.receipt import Before
from tests.books import ORIGIN, figures, salt_of, signer
from tests.deciding import refusal, usage, with_contract, with_two_providers


def test_a_key_that_nobody_registered_is_unknown():
    assert refusal(with_contract(), keyid="nobody").code == "bad_signature"


def test_a_batch_that_was_verified_is_not_decided_under_a_key_that_the_ledger_does_not_hold():
    books = with_contract()
    data = dsse.seal(dsse.BATCH_TYPE, books.payload([usage()]), "nobody", signer("nobody"))
    sent = parse_batch(dsse.parse(data, dsse.BATCH_TYPE), data)
    before = figures(books.state)
    with pytest.raises(Problem, match="no registered key nobody") as refused:
        decide(books.state, sent, books.now, Before(books.state.size, ""), salt_of(data))
    assert refused.value.code == "bad_signature"
    assert figures(books.state) == before


def test_a_key_signs_for_its_own_provider_only():
    books = with_two_providers()
    assert refusal(books, keyid="sz-1", records=[usage()]).code == "provider_mismatch"
    assert refusal(books, keyid="pcl-1", provider="sz").code == "provider_mismatch"
    assert refusal(books, keyid="pcl-1", provider="nobody").code == "provider_mismatch"


def test_a_signature_by_another_key_than_the_named_one_is_bad():
    books = with_two_providers()
    payload = books.payload([usage()])
    with pytest.raises(Problem) as refused:
        books.send(dsse.seal(dsse.BATCH_TYPE, payload, "pcl-1", signer("sz-1")))
    assert refused.value.code == "bad_signature"


@pytest.mark.parametrize("log", ["kashi.test/other", ORIGIN + "/", ORIGIN.upper(), "x"])
def test_a_batch_for_another_log_is_refused(log):
    assert refusal(with_contract(), log=log).code == "wrong_log"


def test_a_genesis_must_match_where_it_is_sent():
    books = with_contract()
    assert refusal(books, genesis="0" * 64).code == "wrong_genesis"
    books.post([usage()], genesis=books.state.genesis_hash)
    assert books.cost("A") == 28_800


def test_the_provider_is_checked_before_the_log_and_the_log_before_the_genesis():
    books = with_two_providers()
    wrong = {"log": "kashi.test/other", "genesis": "0" * 64}
    assert refusal(books, provider="sz", **wrong).code == "provider_mismatch"
    assert refusal(books, **wrong).code == "wrong_log"
    books.post(seq=1)
    books.revoke()
    assert refusal(books, **wrong).code == "wrong_log"
    assert refusal(books, genesis="0" * 64).code == "wrong_genesis"
    # The number is looked up before the revocation.
    assert refusal(books, seq=1, records=[usage()]).code == "seq_conflict"
    assert refusal(books, seq=2).code == "key_revoked"


def test_after_its_revocation_a_key_sends_nothing_new():
    books = with_contract()
    number = books.revoke()
    problem = refusal(books, records=[usage()])
    assert (problem.code, problem.status, problem.facts) == ("key_revoked", 403, {"entry": number})
