"""The numbers of a stream: the same batch again, and another one under a used number."""

import hmac
from hashlib import sha256

import pytest

from meter.rules.entries import BatchAccepted, UsageAccepted
from meter.values.problems import Problem
from meter.wire import dsse
from tests.books import figures, salt_of, signer, void
from tests.deciding import refusal, usage, verdict, with_contract, with_two_providers


def test_the_same_batch_again_gets_the_stored_answer_byte_for_byte():
    books = with_contract()
    books.post([usage()], seq=1)
    entries = list(books.entries)
    before = figures(books.state)
    books.at("2026-06-01T00:00:00+08:00").post([usage()], seq=1)
    assert books.receipts[0] == books.receipts[1]
    assert books.entries == entries
    assert figures(books.state) == before


def test_the_same_batch_again_is_answered_after_the_key_was_revoked():
    books = with_contract()
    books.post([usage()], seq=1)
    books.revoke()
    books.post([usage()], seq=1)
    assert books.receipts[0] == books.receipts[1]


def test_the_same_payload_under_another_key_of_the_provider_is_the_same_batch():
    books = with_contract()
    books.key("pcl-2")
    books.post([usage()], seq=1)
    books.post([usage()], seq=1, keyid="pcl-2")
    assert books.receipts[0] == books.receipts[1]


def test_another_payload_under_a_used_number_is_a_conflict():
    books = with_contract()
    payload = books.payload([usage()], seq=1)
    books.post([usage()], seq=1)
    problem = refusal(books, records=[usage(id="s")], seq=1)
    assert (problem.code, problem.status) == ("seq_conflict", 409)
    assert problem.facts == {"batch": sha256(payload).hexdigest()}
    books.revoke()
    assert refusal(books, records=[usage(id="s")], seq=1).code == "seq_conflict"


def test_a_payload_that_reads_the_same_in_other_bytes_is_another_payload():
    books = with_contract()
    payload = books.payload([usage()], seq=1)
    books.post([usage()], seq=1)
    with pytest.raises(Problem) as refused:
        books.send(dsse.seal(dsse.BATCH_TYPE, payload + b" ", "pcl-1", signer("pcl-1")))
    assert refused.value.code == "seq_conflict"


def test_streams_and_providers_number_for_themselves():
    books = with_two_providers()
    books.post([usage(id="1")], seq=1, stream="a")
    books.post([usage(id="2")], seq=1, stream="b")
    books.post([usage(id="1", contract="Z")], seq=1, stream="a", provider="sz", keyid="sz-1")
    assert [books.cost(name) for name in "AZ"] == [57_600, 28_800]


def test_batches_come_in_any_order_and_an_empty_one_fills_a_gap():
    books = with_contract()
    for seq in (3, 2**53 - 1, 1):
        books.post([usage(id=f"r{seq}")], seq=seq)
    before = len(books.entries)
    books.post(seq=2)
    (entry,) = books.entries[before:]
    assert isinstance(entry, BatchAccepted)
    assert (entry.seq, entry.voids, entry.records, entry.postings) == (2, 0, 0, [])
    assert books.receipt()["entries"] == {"first": before, "count": 1}
    assert (books.receipt()["voids"], books.receipt()["results"]) == ([], [])
    assert sorted(seq for *_, seq in books.state.batches) == [1, 2, 3, 2**53 - 1]


def test_a_payload_that_fails_its_schema_leaves_its_number_free():
    books = with_contract()
    assert refusal(books, records=[usage(milli_devices=1.5)], seq=1).code == "bad_batch"
    assert books.post([usage()], seq=1)[0].status == "accepted"


def test_batches_leave_an_entry_with_their_hashes_and_counts():
    books = with_contract()
    payload = books.payload([usage(), usage(contract="none", id="s")], [void("x")], seq=4)
    data = dsse.seal(dsse.BATCH_TYPE, payload, "pcl-1", signer("pcl-1"))
    size = books.state.size
    receipt = books.send(data)
    entry, used = books.entries[size:]
    assert entry == BatchAccepted(
        at=books.now,
        by="pcl-1",
        postings=[],
        salt=salt_of(data),
        provider="pcl",
        stream="main",
        seq=4,
        payload=sha256(payload).hexdigest(),
        envelope=sha256(data).hexdigest(),
        receipt=sha256(receipt).hexdigest(),
        before=size,
        voids=1,
        records=2,
        purchases=0,
    )
    assert isinstance(used, UsageAccepted)
    assert (used.batch, used.by, used.at) == (size, "pcl-1", books.now)


def test_the_salts_of_a_batch_follow_from_its_own_and_count_what_was_refused():
    books = with_contract()
    verdict(books)
    size = books.state.size
    books.post([usage(contract="none", id="s"), usage(id="t")], [void("x"), void("r")])
    batch, voided, used = books.entries[size:]
    secret = bytes.fromhex(batch.salt)
    expected = [hmac.new(secret, text, "sha256").digest()[:16].hex() for text in (b"1", b"3")]
    assert [voided.salt, used.salt] == expected
