"""Entries give their commands back, survive their bytes, and fit into the largest leaf."""

import pytest

from ledger.canon import MAX_ENTRY_BYTES, encode
from meter.rules import entries
from meter.rules.commands import MAX_DEVICE_KINDS, fields_of, same_but_for_reason
from meter.rules.entries import RecordReleased, RecordVoided, UsageAccepted
from meter.rules.kinds.contracts import MAX_CONTRACTS_OF_YEAR
from meter.rules.kinds.table import BY_COMMAND, BY_ENTRY, command_of, read_entry
from meter.rules.measure import MAX_EVIDENCE
from meter.values.units import MICROSECONDS, parse_instant
from meter.wire.receipt import REASONS
from tests.books import (
    ALPHA,
    BETA,
    DAY,
    DEVICE,
    Books,
    lifted,
    line,
    opened,
    policy_text,
    record,
    summary,
    uscc_of,
    void,
)
from tests.commanding import (
    HOUR,
    amend,
    answer_month,
    award,
    every_command,
    meet_people,
    refusal,
    rotate_keys,
    sell,
    use,
    with_contract,
)
from tests.papers import end_year, take_every_step


def test_every_entry_of_the_authority_gives_its_command_back():
    books = every_command()
    kinds = set()
    for entry in books.entries[1:]:
        made = UsageAccepted | entries.BatchAccepted | entries.CouponAllotted
        if isinstance(entry, made | entries.MonthListed):
            continue
        command = command_of(entry)
        assert same_but_for_reason(command, command_of(type(entry)(**_fields(entry))))
        assert fields_of(command) == {name: getattr(entry, name) for name in fields_of(command)}
        kinds.add(type(command))
    assert kinds == set(BY_COMMAND)


def test_every_entry_survives_its_bytes():
    books = with_contract()
    books.issue(2025, "200.00", reason="第一批")
    books.post([record("r", "A", *HOUR, 64_000, run="x", state="完成", final=True)])
    books.contract("B", max_devices={DEVICE: 1})
    books.fund_contract("B", "1.00")
    books.enterprise(BETA)
    books.succeed(BETA, ALPHA)
    books.enlist("more", 4, "2025-01-01", "2026-01-01")
    books.post([record("s", "B", *HOUR, 64_000), record("t", "B", *HOUR, 64_000)])
    books.release("s")
    books.post(voids=[void("r", "节点故障"), void("t", "节点故障")])
    rotate_keys(books)
    meet_people(books)
    books.issue(2025, "200.00")
    use(books, "c", "A", 64_000)
    take_every_step(books, "A", 2025)
    award(books)
    amend(books)
    sell(books)
    books.post(summary=summary("2025-02-01", line("A", 1, "1.000")))
    answer_month(books, "c")
    books.digest_accesses("2025-02-01")
    books.digest_state()
    end_year(books, 2026)
    kinds = {type(entry) for entry in books.entries}
    assert kinds == set(BY_ENTRY) - {
        *(entries.KeyRevoked, entries.ContractFrozen, entries.ContractUnfrozen),
        entries.CouponWithdrawn,
    }
    for entry in books.entries:
        data = encode(entry)
        assert len(data) <= MAX_ENTRY_BYTES
        assert read_entry(_decoded(data)) == entry


@pytest.mark.parametrize("kind", [None, "", "Usage", "none", 1, True, [], {}, ["usage"]])
def test_an_entry_of_another_kind_is_refused(kind):
    with pytest.raises(ValueError, match="unknown kind"):
        read_entry({"kind": kind})


def test_the_limit_of_contracts_holds_for_an_enterprise_and_a_programme():
    books = opened(lifted())
    for number in range(MAX_CONTRACTS_OF_YEAR):
        books.contract(f"C{number}")
    problem = refusal(books.contract, "more")
    assert (problem.code, problem.status) == ("too_many_contracts", 422)
    books.enterprise(BETA)
    books.contract("more", enterprise=BETA)


def test_an_entry_that_moves_money_in_every_contract_and_year_fits_into_its_bytes():
    # One record in the first year takes the room of the three later ones. The money that this frees
    # goes, in small parts, to all the other contracts of the enterprise.
    name = "long-" + "p" * 27
    policy = lifted(programme=name, starts="2025-01-01", ends="2029-01-01", pool="1000000000.00")
    books = Books(now="2029-01-01T12:00:00+08:00")
    books.activate(policy)
    books.provider("p" * 64)
    books.key("k" * 64, "p" * 64)
    books.enterprise()

    def post(*records: dict) -> None:
        results = books.post(records, provider="p" * 64, keyid="k" * 64)
        assert {result.status for result in results} == {"accepted"}

    def used(contract: str, year: int, milli_devices: int, seconds: int) -> dict:
        start = parse_instant(f"{year}-03-01T08:00:00+08:00")
        return record(f"{contract}-{year}", contract, start, start + seconds, milli_devices)

    contracts = [f"{number:064d}" for number in range(MAX_CONTRACTS_OF_YEAR)]
    terms = {"programme": name, "provider": "p" * 64, "starts": "2025-01-01", "ends": "2029-01-01"}
    # 2.00 yuan for each later year of the first contract; the others wait for two fen a year each.
    for contract in contracts:
        books.contract(contract, amount="6.00", **terms)
    for year in (2026, 2027, 2028):
        books.issue(year, "1.00", programme=name)
    post(*(used(contracts[0], year, 1_000, 1_600) for year in (2026, 2027, 2028)))
    post(*(used(c, year, 1_000, 16) for c in contracts[1:] for year in (2026, 2027, 2028)))
    assert books.granted(contracts[0]) == 300
    assert books.granted(contracts[1]) == 0
    start = parse_instant("2025-03-01T08:00:00+08:00")
    books.post(
        [
            record(
                "i" * 128,
                contracts[0],
                start,
                start + 8_000,
                1_000,
                run="r" * 128,
                state="态" * 128,
            )
        ],
        provider="p" * 64,
        keyid="k" * 64,
        stream="s" * 64,
    )
    entry = books.entries[-1]
    assert len(entry.postings) > 140
    assert len(encode(entry)) < MAX_ENTRY_BYTES // 2
    # The worst that the rules could ever ask for: each contract in each year, the largest sums.
    largest = 10**15
    postings = [
        (f"coupon:{name}:{2025 + year}:{ALPHA}", f"accrued:{contract}:{2025 + year}", largest)
        for contract in contracts
        for year in range(4)
    ]
    assert len(postings) == MAX_CONTRACTS_OF_YEAR * 4
    by_year = [(2025 + year, largest) for year in range(4)]
    by_day = [(20_000 + day, largest) for day in range(32)]
    common = {
        "at": 2**53 - 1,
        "by": "b" * 64,
        "postings": [(f"enterprise:{ALPHA}", f"due:{contracts[0]}", largest), *postings],
        "provider": "p" * 64,
        "id": "i" * 128,
        "contract": contracts[0],
        "device": "d" * 64,
        "entitled": by_year,
        "withheld": by_day,
        "withheld_cost": largest,
        "ineligible": [(reason, largest) for reason in REASONS],
        "salt": "00" * 16,
    }
    asked = {
        "record": 2**53 - 1,
        "reason": "\U00020000" * 500,
        "request": "r" * 200,
        "person": "w" * 64,
        "proposal": 2**53 - 1,
    }
    run: entries.Evidence = ("provider", 2**53 - 1, 2**53 - 1, 2**53 - 1)
    for worst in (
        RecordVoided(**common, **asked, cost=largest),
        RecordReleased(**common, **asked),
        UsageAccepted(
            **common,
            batch=2**53 - 1,
            milli_devices=10**9,
            start=2**53 - 1,
            end=2**53 - 1,
            run="r" * 128,
            state="\U00020000" * 128,
            final=False,
            cost=largest,
            fits=by_day,
            evidence=[run] * MAX_EVIDENCE,
        ),
        _largest_amendment(contracts[0], postings),
    ):
        assert len(encode(worst)) <= MAX_ENTRY_BYTES


def _largest_amendment(contract: str, postings: list[entries.Posting]) -> entries.Entry:
    """Return an amendment that moves a contract from coupons which pay all others then."""
    largest = 10**15
    others = [
        (f"coupon:{'p' * 32}:{2029 + year}:{BETA}", f"accrued:{contract}:{2029 + year}", largest)
        for year in range(4)
    ]
    kinds = [f"{number:064d}" for number in range(MAX_DEVICE_KINDS)]
    return entries.ContractAmended(
        at=2**53 - 1,
        by="b" * 64,
        person="w" * 64,
        request="r" * 200,
        proposal=2**53 - 1,
        salt="00" * 16,
        reason="\U00020000" * 500,
        document="\U00020000" * 200,
        contract=contract,
        mode="correction",
        signed_on="2025-01-01",
        amount=largest,
        starts="2025-01-01",
        ends="2029-01-01",
        prices={kind: entries.PriceFor(10**9, "month") for kind in kinds},
        max_devices=dict.fromkeys(kinds, 10**7),
        use="training",
        related_party=False,
        enterprise=BETA,
        policy="v" * 64,
        ratio_class="c" * 32,
        cost=-(2**53) + 1,
        withheld_cost=-(2**53) + 1,
        ineligible=[(reason, -(2**53) + 1) for reason in REASONS],
        entitled=[(2025 + year, -largest) for year in range(8)],
        postings=[
            (f"enterprise:{BETA}", f"enterprise:{ALPHA}", 2**53 - 1),
            (f"enterprise:{BETA}", f"due:{contract}", 2**53 - 1),
            *postings,
            *others,
        ],
    )


def test_a_record_of_which_every_second_quarter_is_withheld_fits_into_an_entry():
    books = opened(lifted())
    books.contract("A", max_devices={DEVICE: 1})
    start = parse_instant("2025-01-29T08:00:00+08:00")
    quarter, month = 900, 31 * DAY
    busy = range(start, start + month, 2 * quarter)
    books.post(record(f"q{begin}", "A", begin, begin + quarter, 1_000) for begin in busy)
    books.post([record("r" * 128, "A", start, start + month, 1_000)])
    usage = books.entries[-1]
    assert len(usage.evidence) == MAX_EVIDENCE
    assert usage.evidence[-1][2] == (start + month - quarter) * MICROSECONDS
    withheld = sum(time for _, time in usage.withheld)
    assert withheld == len(busy) * quarter * 1_000
    assert withheld + sum(time for _, time in usage.fits) == month * 1_000
    assert sum(time for *_, time in usage.evidence) == withheld
    assert len(encode(usage)) < 3_000


def test_a_policy_of_the_largest_size_fits_into_an_entry_whatever_its_characters():
    for character in ('"', "\\", "\n", "策"):
        books = Books()
        comment = "\n#" if character != "\n" else "\n"
        text = policy_text() + comment
        while True:
            longer = text + character * 100
            if len(longer.encode()) > _policy_limit():
                break
            text = longer
        books.activate(text, reason="\U00020000" * 500)
        assert len(encode(books.entries[-1])) < MAX_ENTRY_BYTES - 1_000


def test_the_dearest_record_that_can_be_posted_fits_into_the_integers_of_an_entry():
    books = opened(lifted())
    highest = "99999.9999"
    books.contract("A", amount="9999999999999.99", prices={DEVICE: highest})
    with pytest.raises(ValueError, match="price"):
        books.contract("B", prices={DEVICE: "100000.00"})
    month = ("2025-01-29T08:00:00+08:00", "2025-03-01T08:00:00+08:00")
    (result,) = books.post([record("r", "A", *month, 10**9)])
    assert result.status == "accepted"
    encode(books.entries[-1])
    assert books.entries[-1].cost > 10**15


def test_a_provider_and_a_contract_with_all_that_they_may_hold_fit_into_an_entry():
    books = opened()
    kinds = {f"{number:064d}": 10_000_000 for number in range(32)}
    wide = "\U00020000" * 200
    books.provider("p" * 64, uscc=uscc_of(7), name=wide, devices=kinds, reason="\U00020000" * 500)
    assert len(encode(books.entries[-1])) < MAX_ENTRY_BYTES
    prices = dict.fromkeys(kinds, "99999.9999")
    books.contract("c" * 64, prices=prices, max_devices=kinds, reason="\U00020000" * 500)
    assert len(encode(books.entries[-1])) < MAX_ENTRY_BYTES


def _policy_limit() -> int:
    from meter.values.policy_file import MAX_POLICY_BYTES

    return MAX_POLICY_BYTES


def _fields(entry: entries.Entry) -> dict:
    return {name: getattr(entry, name) for name in entry.__struct_fields__}


def _decoded(data: bytes) -> dict:
    from ledger.canon import decode as canonical

    return canonical(data)
