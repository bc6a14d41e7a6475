"""The receipt: its bytes, what it says of money, and of whom it is silent."""

import base64
from hashlib import sha256

import pytest

from meter.values.problems import Problem
from meter.wire import dsse
from tests.books import opened, signer, void
from tests.deciding import usage, verdict, with_contract, with_two_providers


def test_the_receipt_is_these_bytes():
    books = with_contract()
    payload = books.payload(
        [usage(id="slurm:4211:0"), usage(id="slurm:4212:0", contract="TC-9")], [void("x")], seq=17
    )
    first = books.state.size
    receipt = books.send(dsse.seal(dsse.BATCH_TYPE, payload, "pcl-1", signer("pcl-1")))
    assert first == 7
    root = base64.b64encode(bytes(32)).decode()
    assert (
        receipt
        == (
            f'{{"batch":"{sha256(payload).hexdigest()}","log":"kashi.test/books","provider":"pcl",'
            f'"stream":"main","seq":17,"before":{{"size":7,"root":"{root}"}},'
            '"entries":{"first":7,"count":2},'
            '"voids":[{"id":"x","status":"rejected","code":"unknown_record",'
            '"detail":"no accepted record of this id"}],'
            '"results":[{"id":"slurm:4211:0","status":"accepted","entry":8,"cost":"288.00",'
            '"entitled":"144.00","granted":"144.00","uncovered":"0.00","withheld":"0.00",'
            '"ineligible":"0.00","reasons":{},"by_year":{"2025":"144.00"},"bound":[]},'
            '{"id":"slurm:4212:0","status":"rejected","code":"unknown_contract",'
            '"detail":"pcl has no contract TC-9"}]}'
        ).encode()
    )


def test_a_receipt_is_silent_about_the_contracts_of_other_providers():
    books = with_two_providers()
    books.withdraw(2025, "499900.00")  # 100.00 are left
    verdict(books)
    books.post([usage(contract="Z")], provider="sz", keyid="sz-1", stream="sz-stream")
    assert [books.granted(name) for name in "AZ"] == [10_000, 0]
    (result,) = books.post(voids=[void("r")])
    # The money that A gives back goes to Z in the same entry.
    assert [books.granted(name) for name in "AZ"] == [0, 10_000]
    assert any("accrued:Z:2025" in posting for posting in books.entries[-1].postings)
    assert (result.granted, result.by_year) == ("-100.00", {"2025": "-100.00"})
    text = books.receipts[-1].decode()
    assert '"Z"' not in text
    assert "sz" not in text
    assert "100.00" not in text.replace('"-100.00"', "")


def test_uncovered_is_what_is_entitled_and_not_granted():
    books = with_contract()
    books.withdraw(2025, "499900.00")
    result = verdict(books)
    assert (result.entitled, result.granted, result.uncovered) == ("144.00", "100.00", "44.00")
    assert result.bound == ["coupon"]
    result = verdict(books, id="s")
    assert (result.entitled, result.granted, result.uncovered) == ("144.00", "0.00", "144.00")
    assert result.by_year == {"2025": "0.00"}
    (result,) = books.post(voids=[void("s")])
    assert (result.entitled, result.granted, result.uncovered) == ("-144.00", "0.00", "-144.00")
    assert result.bound == ["coupon"]


def test_a_batch_leaves_its_time_and_the_name_of_its_stream():
    books = with_contract().at("2025-03-01T12:00:01+08:00")
    books.post(stream="main")
    assert books.state.last_at == books.now
    with pytest.raises(Problem, match="looks_alike"):
        books.post(stream="Main")
    books.post(stream="main")


def test_a_coupon_of_one_fen_is_granted():
    books = with_contract()
    books.withdraw(2025, "499999.99")
    assert verdict(books).granted == "0.01"


def test_a_contract_that_is_used_up_stays_so_beside_usage_that_does_not_count():
    books = opened()
    books.contract("A", amount="100.00")
    assert verdict(books).bound == ["contract_amount", "coupon"]
    early = {"start": "2024-11-30T23:00:00+08:00", "end": "2024-12-01T00:00:00+08:00"}
    books.at("2024-12-02T00:00:00+08:00")
    result = verdict(books, id="early", **early)
    assert (result.entitled, result.bound) == ("0.00", ["contract_amount", "coupon"])


def test_the_same_batch_on_the_same_state_at_the_same_time_gives_the_same_bytes():
    one, two = with_two_providers(), with_two_providers()
    for books in (one, two):
        books.post([usage(), usage(id="s", contract="none"), usage(id="t")])
        books.post([usage(id="u", run="run")], [void("t"), void("none")])
    assert one.receipts == two.receipts
    assert one.entries == two.entries
