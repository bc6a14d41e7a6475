"""What other policies would have paid: figures, cuts, and the command line."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ledger.errors import CannotCheck
from ledger.verify import verify
from meter.auditor.alternative import Cut, Outcome, Recorder, compare
from meter.rules import commands
from meter.values.policy import shipped_text
from meter.values.units import parse_instant
from tests.books import (
    ALPHA,
    BETA,
    DAY,
    DEVICE,
    HOUR,
    lifted,
    purchase,
    record,
    uscc_of,
    void,
    without_sections,
)
from tests.commands import kashi
from tests.histories import history
from tests.papers import papers, take_every_step
from tests.writer import Writer

GAMMA = uscc_of(3)
CORPUS = "corpus-coupon"
CORPUS_FILE = shipped_text(CORPUS, "2024-12").replace("days = 35", "days = 3660")
BY_DAYS = CORPUS_FILE + '\n[rounding]\nprorate = "days"\narticle = "none"\nstanding = "judgement"\n'
NOW = "2025-12-30T12:00:00+08:00"
START = parse_instant("2025-12-01T08:00:00+08:00")


def recorded(writer: Writer) -> Recorder:
    """Export and verify."""
    audit = Recorder()
    with tempfile.TemporaryDirectory() as folder:
        writer.export(Path(folder))
        assert verify(Path(folder), writer.verifier, audit).ok
    return audit


def under(writer: Writer, *texts: str) -> Outcome:
    return compare(recorded(writer), texts, lambda _done, _total: None)


def changes(outcome: Outcome) -> dict[tuple[str, str], tuple[int, int]]:
    """Return what differs by item and figure: fen before and after."""
    return {
        (each.item, each.figure): (each.before, each.after)
        for each in outcome.figures
        if each.before != each.after
    }


@pytest.fixture
def writer() -> Writer:
    """A ledger with contract A: 288.00 used, 1,000.00 issued, 144.00 granted."""
    writer = Writer(NOW)
    writer.activate(lifted())
    writer.provider(devices={DEVICE: 1_000})
    writer.key()
    writer.enterprise()
    writer.contract("A", amount="100000.00", signed_on="2025-03-01", starts="2025-03-01")
    writer.issue(2025, "1000.00")
    writer.post([record("r1", "A", START, START + HOUR, 64_000)])
    return writer


def claim(writer: Writer, amount: str | None = None) -> None:
    """Approve, notice, order and pay a claim for all that is granted to A, or for an amount."""
    paid = papers(day="2025-12-30")
    writer.ask(commands.EnterClaim, id="C", item="A", year=2025, **paid)
    writer.ask(commands.CheckClaim, claim="C")
    writer.ask(commands.ApproveClaim, claim="C", amount=amount or "144.00", disallowed=[])
    notice = {"starts": "2025-12-30", "ends": "2026-01-07", "url": "https://city.test/1"}
    writer.ask(commands.NoticeClaim, claim="C", **notice)
    writer.at("2026-01-08T12:00:00+08:00")
    writer.ask(commands.OrderClaim, claim="C")
    writer.ask(commands.PayClaim, claim="C", bank_reference="city-1", paid_on="2026-01-08")


@pytest.mark.parametrize("seed", range(12))
def test_under_its_own_file_a_random_ledger_does_not_differ(seed):
    writer = history(seed)
    outcome = under(writer, lifted(pool="1000.00"))
    assert changes(outcome) == {}
    assert outcome.cuts == []
    assert len(outcome.figures) > 0


def test_under_its_own_file_a_ledger_with_every_step_of_a_claim_does_not_differ(writer):
    take_every_step(writer, "A", 2025)
    outcome = under(writer, lifted())
    assert (changes(outcome), outcome.cuts) == ({}, [])
    approved = [each.before for each in outcome.figures if each.figure == "approved"]
    assert approved == [800]  # 10.00, and 1.00 recovered twice


def test_a_lower_ratio_lowers_what_is_entitled_granted_and_approved(writer):
    claim(writer)
    approval = next(n for n, entry in enumerate(writer.entries) if entry.kind == "approval")
    text = lifted(standard=4_000)
    outcome = under(writer, text)
    assert changes(outcome) == {
        ("A", "entitled"): (14_400, 11_520),
        ("A", "granted"): (14_400, 11_520),
        ("A", "approved"): (14_400, 11_520),
    }
    assert outcome.cuts == [Cut(approval, "approval", "above_payable", 14_400, 11_520)]


@pytest.fixture
def shop() -> Writer:
    """A ledger of purchases: 365.00 for the service of 2026, 109.50 granted, and a void."""
    writer = Writer("2026-06-01T12:00:00+08:00")
    writer.activate(BY_DAYS)
    writer.vendor("szdex", uscc_of(71), CORPUS)
    writer.enterprise()
    writer.shop("C", CORPUS, "szdex", ends="2027-06-01")
    writer.issue(2026, "1000.00", programme=CORPUS)
    service = {"service_from": "2026-01-01", "service_until": "2027-01-01"}
    writer.sell(
        purchase("s", "C", "365.00", "2026-01-01", **service),
        purchase("p", "C", "9.99", "2026-01-01"),
    )
    writer.sell(voids=[void("p")])
    return writer


def test_the_days_of_purchases_are_facts_and_other_files_rate_them(shop):
    assert shop.granted("C") == 105_30  # the policy ends on 18 December
    for text in (BY_DAYS, CORPUS_FILE):
        outcome = under(shop, text)
        assert (changes(outcome), outcome.cuts) == ({}, [])
    outcome = under(shop, BY_DAYS.replace("ratio = 3000", "ratio = 2000"))
    assert changes(outcome) == {
        ("C", "entitled"): (105_30, 70_20),
        ("C", "granted"): (105_30, 70_20),
    }


TAKING = CORPUS_FILE.replace('version = "2024-12"', 'version = "next"') + (
    '\n[transition]\nrunning = "take"\neffective = "2026-09-01"\narticle = "none"\n'
    'standing = "judgement"\n'
)


def test_no_file_takes_contracts_whose_services_are_booked_ahead(shop):
    shop.at("2026-10-01T12:00:00+08:00")
    shop.freeze("C")
    with pytest.raises(CannotCheck, match="unsupported_section"):
        under(shop, BY_DAYS, TAKING)
    with pytest.raises(CannotCheck, match="contract C has usage since then"):
        under(shop, CORPUS_FILE, TAKING)


def test_a_service_that_was_taken_back_hinders_no_file(shop):
    shop.sell(voids=[void("s")])
    shop.at("2026-10-01T12:00:00+08:00")
    shop.freeze("C")
    assert under(shop, CORPUS_FILE, TAKING).cuts == []


def test_funds_of_a_contract_are_facts_and_lower_what_other_files_give(writer):
    writer.fund_contract("A", "49900.00")
    assert (under(writer, lifted()).cuts, writer.granted("A")) == ([], 10_000)
    outcome = under(writer, lifted(combined_standard=4_995))
    assert changes(outcome) == {
        ("A", "entitled"): (10_000, 5_000),
        ("A", "granted"): (10_000, 5_000),
    }


def test_what_expires_follows_from_what_is_granted(writer):
    writer.activate(lifted(version="next", claim_months=6))
    writer.issue(2026, "500.00")
    writer.post([record("r2", "A", START - 30 * DAY, START - 30 * DAY + HOUR, 64_000)])
    writer.at("2031-01-01T00:00:00+08:00")
    expiry = writer.expire(2025)
    closing = writer.close(2025)
    outcome = under(writer, lifted())
    assert (changes(outcome), outcome.cuts) == ({}, [])
    outcome = under(writer, lifted(standard=4_000))
    assert changes(outcome)["", "issued"] == (28_800, 23_040)
    assert outcome.cuts == []
    outcome = under(writer, without_sections(lifted(), "claims"), longer())
    codes = [(cut.entry, cut.code) for cut in outcome.cuts]
    assert codes == [(expiry, "no_claims"), (closing, "no_claims")]


def proportional(**figures: str) -> str:
    section = '[allocation]\nmode = "proportional"\narticle = "1"\nstanding = "measures"\n'
    return f"{lifted(**figures)}\n{section}"


def dividing(pool: str, *firms: str) -> Writer:
    """Return a ledger of firms with a contract each, whose pool is divided."""
    writer = Writer(NOW)
    writer.activate(proportional(pool=pool))
    writer.provider()
    for uscc in firms:
        writer.enterprise(uscc)
        writer.contract(f"of-{uscc}", enterprise=uscc)
    return writer


def issued(outcome: Outcome) -> dict[str, tuple[int, int]]:
    """Return what each firm is issued: fen before and after."""
    of_coupons = (each for each in outcome.figures if each.figure == "issued")
    return {each.enterprise: (each.before, each.after) for each in of_coupons}


def test_a_pool_is_divided_anew_among_those_who_asked():
    writer = dividing("3.00", ALPHA, BETA)
    number = writer.allocate(2025, (ALPHA, "2.00"), (BETA, "4.00"))
    outcome = under(writer, proportional(pool="3.00"))
    assert (changes(outcome), outcome.cuts) == ({}, [])
    outcome = under(writer, proportional(pool="9.00"))
    assert issued(outcome) == {ALPHA: (100, 200), BETA: (200, 400)}
    assert outcome.cuts == []
    for text, code in (
        (lifted(pool="3.00"), "wrong_allocation"),
        (proportional(pool="0.00"), "pool_exceeded"),
    ):
        outcome = under(writer, text)
        assert issued(outcome) == {ALPHA: (100, 0), BETA: (200, 0)}
        assert outcome.cuts == [
            Cut(number, "allocation", code, 200, 0, ALPHA),
            Cut(number, "allocation", code, 400, 0, BETA),
        ]


def test_a_request_above_a_lowered_cap_is_cut_and_the_pool_divided_among_what_is_left():
    writer = dividing("10.00", ALPHA, BETA, GAMMA)
    number = writer.allocate(2025, (ALPHA, "6.00"), (BETA, "4.00"), (GAMMA, "5.00"))
    outcome = under(writer, proportional(pool="10.00", cap="5.00"))
    # Of 14.00: 3.57 and 2/14 of a fen, 2.85 and 10/14, 3.57 and 2/14; the fen left is for BETA.
    assert issued(outcome) == {ALPHA: (400, 357), BETA: (267, 286), GAMMA: (333, 357)}
    assert outcome.cuts == [Cut(number, "allocation", "cap_exceeded", 600, 500, ALPHA)]


def test_requests_of_one_firm_are_cut_together_and_in_the_order_of_the_list():
    writer = dividing("9.00", ALPHA, BETA, GAMMA)
    writer.succeed(ALPHA, BETA)
    number = writer.allocate(2025, (BETA, "3.00"), (GAMMA, "1.00"), (ALPHA, "4.00"))
    outcome = under(writer, proportional(pool="9.00", cap="5.00"))
    assert issued(outcome) == {ALPHA: (400, 200), BETA: (300, 300), GAMMA: (100, 100)}
    assert outcome.cuts == [Cut(number, "allocation", "cap_exceeded", 400, 200, ALPHA)]
    outcome = under(writer, proportional(pool="9.00", cap="2.00"))
    assert issued(outcome) == {ALPHA: (400, 0), BETA: (300, 200), GAMMA: (100, 100)}
    assert outcome.cuts == [
        Cut(number, "allocation", "cap_exceeded", 300, 200, BETA),
        Cut(number, "allocation", "cap_exceeded", 400, 0, ALPHA),
    ]


def longer() -> str:
    """Return the second version without claims."""
    return without_sections(lifted(version="next"), "claims")


def test_a_higher_ratio_leaves_more_payable_and_cuts_nothing(writer):
    claim(writer)
    text = lifted(standard=6_000, combined_standard=6_000)
    outcome = under(writer, text)
    assert changes(outcome) == {
        ("A", "entitled"): (14_400, 17_280),
        ("A", "granted"): (14_400, 17_280),
        ("A", "payable"): (0, 2_880),
    }
    assert outcome.cuts == []


def test_issues_are_cut_to_cap_and_pool(writer):
    writer.issue(2025, "500.00")
    first, second = [n for n, each in enumerate(writer.entries) if each.kind == "issue"]
    outcome = under(writer, lifted(cap="1200.00"))
    assert changes(outcome) == {("", "issued"): (150_000, 120_000)}
    assert outcome.cuts == [Cut(second, "issue", "cap_exceeded", 50_000, 20_000)]
    outcome = under(writer, lifted(pool="100.00"))
    assert changes(outcome) == {
        ("", "issued"): (150_000, 10_000),
        ("A", "granted"): (14_400, 10_000),
        ("A", "uncovered"): (0, 4_400),
    }
    assert outcome.cuts == [
        Cut(first, "issue", "pool_exceeded", 100_000, 10_000),
        Cut(second, "issue", "pool_exceeded", 50_000, 0),
    ]


def test_a_contract_that_no_version_covers_is_left_out_with_all_that_follows(writer):
    writer.void("r1")
    claims = papers(day="2025-12-30")
    writer.ask(commands.EnterClaim, id="C", item="A", year=2025, **claims)
    text = lifted(ends="2025-02-01")
    outcome = under(writer, text)
    assert changes(outcome) == {("", "issued"): (100_000, 0)}
    assert [(cut.kind, cut.code) for cut in outcome.cuts] == [
        ("contract", "no_policy"),
        ("issue", "above_need"),
        ("claim", "unknown_contract"),
    ]


def test_a_new_version_counts_for_contracts_signed_after_its_begin():
    writer = Writer("2025-11-01T12:00:00+08:00")
    writer.activate(lifted())
    writer.provider(devices={DEVICE: 1_000})
    writer.key()
    writer.enterprise()
    writer.enterprise(BETA, founded_on="2024-01-01")
    writer.contract("A", amount="100000.00")
    writer.issue(2025, "1000.00")
    writer.at(NOW)
    writer.contract("B", enterprise=BETA, amount="100000.00", signed_on="2025-12-02")
    writer.issue(2025, "1000.00", BETA)
    for name in ("A", "B"):
        writer.post([record(f"r-{name}", name, START + 5 * DAY, START + 5 * DAY + HOUR, 64_000)])
    text = lifted(version="later", starts="2025-12-01", standard=4_000)
    outcome = under(writer, text)
    assert changes(outcome) == {
        ("B", "entitled"): (14_400, 11_520),
        ("B", "granted"): (14_400, 11_520),
    }
    assert outcome.cuts == []


def test_a_file_that_the_ledger_cannot_have_is_refused(writer):
    with pytest.raises(CannotCheck, match="bad_policy"):
        under(writer, "programme = 1")
    with pytest.raises(CannotCheck, match="the ledger has no policy of nowhere"):
        under(writer, lifted().replace('"training-coupon"', '"nowhere"'))


# The command line


@pytest.fixture
def folder(writer, tmp_path) -> Iterator[tuple[Path, Path]]:
    """An exported ledger, and a policy file of 40 %."""
    writer.issue(2025, "500.00")
    writer.export(tmp_path / "log")
    (tmp_path / "log.vkey").write_text(writer.verifier.format())
    text = lifted(cap="1200.00", standard=4_000)
    (tmp_path / "new.toml").write_text(text, encoding="utf-8")
    return tmp_path / "log", tmp_path / "new.toml"


def what_if(log: Path, policy: Path, *words: str) -> Any:
    return kashi("what-if", log, "--vkey", log.with_name("log.vkey"), "--policy", policy, *words)


def test_the_command_prints_figures_totals_and_cuts_as_json(folder):
    result = what_if(*folder, "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    changed = {"before": "144.00", "after": "115.20", "difference": "-28.80"}
    row = {"year": 2025, "programme": "training-coupon", "enterprise": ALPHA, "item": "A"}
    assert row | {"figure": "entitled"} | changed in told["figures"]
    issued = {"before": "1500.00", "after": "1200.00", "difference": "-300.00"}
    total = {"year": 2025, "programme": "training-coupon", "enterprise": "", "item": None}
    assert total | {"figure": "issued"} | issued in told["totals"]
    (cut,) = told["otherwise"]
    assert (cut["code"], cut["asked"], cut["allowed"]) == ("cap_exceeded", "500.00", "200.00")
    assert told["size"] > 0
    assert len(told["root"]) == 64


def test_the_command_prints_tables(folder):
    result = what_if(*folder)
    assert result.exit_code == 0, result.output
    for words in ("entitled", "-28.80", "cap_exceeded", "200.00", "3 figures differ, 3 do not"):
        assert words in result.output


def test_a_violated_log_is_told_and_not_compared(folder):
    log, policy = folder
    path = next(each for each in sorted((log / "tile" / "entries").rglob("*")) if each.is_file())
    data = bytearray(path.read_bytes())
    data[-2] ^= 1
    path.chmod(0o600)
    path.write_bytes(data)
    result = what_if(log, policy)
    assert result.exit_code == 1
    assert "VIOLATED" in result.output
    assert "figures differ" not in result.output


def test_a_policy_that_cannot_be_read_is_told(folder, tmp_path):
    log, _ = folder
    result = what_if(log, tmp_path / "none.toml")
    assert result.exit_code == 2
    assert "the policy cannot be read" in result.output
