"""Two and a half years of the Measures in one story, from their first day to the last claim.

Three firms, two computing centres, a data exchange and a model vendor; four persons of the
authority. The story is told in order, the figures worked out by hand beside each step. What is left
in the end is the golden file `two_years.txt`. The ledger is exported and audited, and under its own
policies nothing differs.

    python -m tests.meter.test_two_years     writes the golden file anew
"""

import tempfile
from pathlib import Path
from typing import Any

import pytest

from ledger.verify import verify
from meter.auditor.alternative import Recorder, compare
from meter.rules import commands
from meter.rules.items import debt_of, known_item
from meter.rules.rating import DENOMINATOR
from meter.values.problems import Problem
from meter.values.units import format_money, parse_instant
from tests.books import ALPHA, BETA, DEVICE, SHIPPED, policy_text, purchase, record, uscc_of
from tests.meter.test_measures import text_of
from tests.papers import DIGEST, Office, day_after, day_of
from tests.writer import Writer

GOLDEN = Path(__file__).with_name("two_years.txt")
GAMMA = uscc_of(3)
LONGGANG, EXCHANGE, VENDOR, SUPPLIER = map(uscc_of, (21, 22, 23, 24))
NAMES = {ALPHA: "甲机器人", BETA: "乙大模型", GAMMA: "丙语音"}
CORPUS = text_of("corpus-coupon").replace("50000000.00", "1000000.00") + (
    '\n[allocation]\nmode = "proportional"\narticle = "none"\nstanding = "judgement"\n'
)


def later(standard: int) -> str:
    """Return the policy from July 2026 on, also for contracts that run: startups get a tenth more.

    `standard` is in basis points.
    """
    text = policy_text(
        version="2026-07",
        starts="2026-07-01",
        standard=standard,
        startup=standard + 1_000,
        combined_standard=standard,
        combined_startup=standard + 1_000,
    )
    section = 'running = "take"\neffective = "2026-07-01"\narticle = "none"\nstanding = "judgement"'
    return f"{text}\n[transition]\n{section}\n"


LOWER = later(4_000)
POLICIES = (SHIPPED, LOWER, CORPUS, *map(text_of, ("model-coupon", "adaptation", "event")))


class City(Office, Writer):
    """An authority of four persons, whose ledger is exported in the end."""

    def on(self, day: str) -> "City":
        """Move the clock to noon of a Shanghai day."""
        self.at(f"{day}T12:00:00+08:00")
        return self

    @property
    def today(self) -> str:
        return day_of(self)

    def use(self, id_: str, contract: str, days: tuple[str, str], cards: int, **more: Any) -> None:
        """Post a record of whole days, at noon of the day after."""
        starts, ends = (parse_instant(f"{day}T00:00:00+08:00") for day in days)
        self.on(days[1])
        (result,) = self.post([record(id_, contract, starts, ends, cards * 1_000)], **more)
        assert type(result).__name__ == "Accepted", result

    def claim(self, id_: str, item: str, year: int, invoiced: str) -> None:
        """Claim with one invoice that was paid whole; another person checks it."""
        paper = {"amount": invoiced, "part": invoiced}
        number = f"{len(self.entries):020d}"
        invoice = {"number": number, "issued_on": self.today, "tax": "0.00", "sha256": DIGEST}
        payment = {"bank": "102584000002", "reference": number, "paid_on": self.today}
        parties = self.parties_of(item)
        papers = {
            "invoices": [invoice | paper | parties],
            "payments": [payment | paper],
        }
        self.ask(commands.EnterClaim, id=id_, item=item, year=year, delivery=DIGEST, **papers)
        self.ask(commands.CheckClaim, by="checker", claim=id_)

    def parties_of(self, item: str) -> dict[str, str]:
        """Return who sells and buys what a contract or an award pays for."""
        if item in self.state.awards:
            return {"seller": SUPPLIER, "buyer": self.state.awards[item].made.enterprise}
        terms = self.state.contracts[item].agreed
        seller = self.state.providers[terms.provider].registered.uscc
        return {"seller": seller, "buyer": terms.enterprise}

    def buy(self, contract: str, amount: str, vendor: str) -> None:
        """Post a purchase that is delivered today."""
        name = f"{contract}-{len(self.entries)}"
        (result,) = self.sell(purchase(name, contract, amount, self.today), vendor=vendor)
        assert type(result).__name__ == "Accepted", result

    def approve(self, id_: str, amount: str) -> None:
        """Approve a claim, and give notice of it."""
        self.ask(commands.ApproveClaim, by="approver", claim=id_, amount=amount, disallowed=[])
        notice = {"starts": self.today, "ends": day_after(self.today, 7)}
        self.ask(commands.NoticeClaim, claim=id_, url="https://city.test/notice", **notice)

    def wait(self) -> None:
        """Let a notice run out: a week and a day."""
        self.on(day_after(self.today, 8))

    def pay(self, id_: str) -> str:
        """Order and pay a claim; returns the cash."""
        self.ask(commands.OrderClaim, by="payer", claim=id_)
        cash = self.state.claims.claim(id_).cash
        if cash:
            paid = {"bank_reference": f"city-{id_}", "paid_on": self.today}
            self.ask(commands.PayClaim, by="payer", claim=id_, **paid)
        return format_money(cash)

    def debt(self, item: str, year: int) -> str:
        """Return what a firm was paid beyond the limit."""
        return format_money(debt_of(self.state, known_item(self.state, item), year))

    def account(self, item: str, year: int) -> str:
        """Return what was claimed and paid for an item, as text."""
        account = self.state.claims.account((item, year))
        return f"approved {format_money(account.claimed)}, paid {format_money(account.paid)}"

    def expire(self, year: int, programme: str = "training-coupon") -> None:
        """Return the free rests of a year's coupons to the pool."""
        self.ask(commands.ExpireCoupons, programme=programme, year=year)

    def close(self, year: int, programme: str = "training-coupon") -> None:
        self.ask(commands.CloseYear, programme=programme, year=year)

    def grants(self, item: str, year: int) -> tuple[str, str]:
        """Return what a contract is entitled to and granted in a year."""
        share = self.share(item, year)
        return format_money(share.entitled), format_money(share.granted)


def the_first_days(city: City) -> None:
    """December 2024: policies, budgets, parties."""
    city.on("2024-12-18")
    for text in (SHIPPED, CORPUS, *map(text_of, ("model-coupon", "adaptation", "event"))):
        city.activate(text)
    for programme in ("adaptation", "event"):
        city.budget(2025, "20000000.00", programme=programme)
    city.provider("pcl", devices={DEVICE: 1_000})
    city.provider("lg", uscc=LONGGANG, name="龙岗智算中心", devices={DEVICE: 200})
    for name in ("pcl", "lg"):
        city.key(f"{name}-1", name)
    city.vendor("szdex", EXCHANGE, "corpus-coupon")
    city.vendor("moxing", VENDOR, "model-coupon")
    city.enterprise(ALPHA, name=NAMES[ALPHA], founded_on="2015-03-01")
    city.enterprise(BETA, name=NAMES[BETA], founded_on="2024-06-01")
    city.enterprise(GAMMA, name=NAMES[GAMMA], founded_on="2018-01-01")


def the_contracts_of_2025(city: City) -> None:
    """January 2025: a firm, a startup, and one that rents by the month."""
    city.on("2025-01-10")
    year = {"signed_on": "2025-01-10", "starts": "2025-02-01", "ends": "2027-01-01"}
    city.contract("A", amount="2000000.00", contract_no="PCL-25-001", **year)
    city.contract("S", enterprise=BETA, amount="1000000.00", contract_no="PCL-25-002", **year)
    monthly = {DEVICE: {"amount": "3000.00", "per": "month"}}
    rented = {"provider": "lg", "prices": monthly, "contract_no": "LG-25-001"}
    city.contract("G", enterprise=GAMMA, amount="1000000.00", **rented, **year)
    classes = [city.state.contracts[name].agreed.ratio_class for name in ("A", "S", "G")]
    assert classes == ["standard", "startup", "standard"]
    for uscc, amount in ((ALPHA, "500000.00"), (BETA, "300000.00"), (GAMMA, "300000.00")):
        city.issue(2025, amount, uscc)


def the_corpora_and_models_of_2025(city: City) -> None:
    """Two firms share a pool that is too small; one of them buys a model too."""
    city.on("2025-02-10")
    terms = {"signed_on": "2025-02-10", "starts": "2025-02-10", "ends": "2026-02-10"}
    model = {"amount": "400000.00", "use": "application"}
    city.shop("KA", "corpus-coupon", "szdex", amount="3000000.00", **terms)
    city.shop("KB", "corpus-coupon", "szdex", enterprise=BETA, amount="2000000.00", **terms)
    city.shop("MB", "model-coupon", "moxing", enterprise=BETA, **model, **terms)
    with pytest.raises(Problem, match="proportional"):
        city.issue(2025, "900000.00", programme="corpus-coupon")
    # They ask for 1,500,000.00 of 1,000,000.00, so each gets two thirds.
    requests = (ALPHA, "900000.00"), (BETA, "600000.00")
    city.allocate(2025, *requests, programme="corpus-coupon")
    shares = [city.coupon(2025, uscc, "corpus-coupon").issued for uscc in (ALPHA, BETA)]
    assert shares == [600_000_00, 400_000_00]
    city.issue(2025, "120000.00", BETA, programme="model-coupon")
    # 30 % of 2,500,000.00 are more than its share; of 1,000,000.00 they are less.
    city.on("2025-03-01").buy("KA", "1000000.00", "szdex")
    city.on("2025-05-01").buy("KA", "1500000.00", "szdex")
    city.on("2025-05-02").buy("KB", "1000000.00", "szdex")
    assert city.grants("KA", 2025) == ("750000.00", "600000.00")
    assert city.grants("KB", 2025) == ("300000.00", "300000.00")
    # 30 % of 333,333.33, then up to the contract's amount.
    city.on("2025-05-03").buy("MB", "333333.33", "moxing")
    assert city.grants("MB", 2025) == ("99999.99", "99999.99")
    city.on("2025-05-04").buy("MB", "100000.00", "moxing")
    assert city.grants("MB", 2025) == ("120000.00", "120000.00")


def the_year_2025(city: City) -> None:
    """Usage, an amendment, a startup that is none any more, and a late window."""
    # 256 cards × 720 h × 4.50 = 829,440.00, and half of it.
    city.use("a-06", "A", ("2025-06-01", "2025-07-01"), 256)
    assert city.grants("A", 2025) == ("414720.00", "414720.00")
    # 128 cards × 720 h × 4.50 = 414,720.00, and 60 % of it: what counts is the day of the signing.
    city.use("s-06", "S", ("2025-06-01", "2025-07-01"), 128)
    assert city.grants("S", 2025) == ("248832.00", "248832.00")
    # 100 cards for all of July at 3,000.00 a month.
    city.use("g-07", "G", ("2025-07-01", "2025-08-01"), 100, provider="lg", keyid="lg-1")
    assert city.grants("G", 2025) == ("150000.00", "150000.00")
    city.on("2025-09-20")
    supplement = {"mode": "supplement", "effective": "2025-10-01", "signed_on": "2025-09-20"}
    told = {"document": "补充协议一", "reason": "prices fell"}
    prices = {DEVICE: "4.00"}
    city.ask(commands.AmendContract, contract="A", prices=prices, **supplement, **told)
    more = {"amount": "1200000.00", "document": "补充协议", "reason": "more work"}
    with pytest.raises(Problem, match="class_changed"):
        city.ask(commands.AmendContract, contract="S", **supplement, **more)
    # A new contract of the firm that is no startup any more, after that of the startup.
    terms = {"signed_on": "2025-09-20", "starts": "2025-10-01", "ends": "2027-01-01"}
    second = {"enterprise": BETA, "provider": "lg", "contract_no": "LG-25-002", "follows": "S"}
    city.contract("B", amount="500000.00", **second, **terms)
    assert city.state.contracts["B"].agreed.ratio_class == "standard"
    # 100 cards × 720 h × 4.50 = 324,000.00; of 162,000.00 the coupon has 51,168.00 left.
    city.use("b-11", "B", ("2025-11-01", "2025-12-01"), 100, provider="lg", keyid="lg-1")
    assert city.grants("B", 2025) == ("162000.00", "51168.00")
    # 128 cards × 720 h × 4.00 = 368,640.00; of 184,320.00 the coupon has 85,280.00 left.
    city.use("a-11", "A", ("2025-11-01", "2025-12-01"), 128)
    assert city.grants("A", 2025) == ("599040.00", "500000.00")


def the_awards(city: City) -> None:
    """December 2025: two awards, within what other public money leaves."""
    city.on("2025-12-10")
    city.project("P", title="国产适配")
    city.fund("1000000.00", "P")
    adaptation = {"project": "P", "base": "5000000.00"}
    with pytest.raises(Problem, match="above_need"):
        city.award("AD", "adaptation", "1500000.01", **adaptation)
    city.award("AD", "adaptation", "1500000.00", **adaptation)
    city.project("Q", title="产业活动")
    event = {"project": "Q", "base": "2000000.00", "enterprise": GAMMA}
    city.award("EV", "event", "1000000.00", **event)


def the_claims_for_2025(city: City) -> None:
    """February 2026: what was granted is claimed, reviewed and paid."""
    city.on("2026-01-15")
    for uscc, amount in ((ALPHA, "400000.00"), (BETA, "100000.00"), (GAMMA, "200000.00")):
        city.issue(2026, amount, uscc)
    city.on("2026-02-10")
    city.claim("C-A", "A", 2025, "1198080.00")
    city.claim("C-S", "S", 2025, "414720.00")
    city.claim("C-B", "B", 2025, "324000.00")
    with pytest.raises(Problem, match="above_payable"):
        city.approve("C-A", "500000.01")
    for name, amount in (("C-A", "500000.00"), ("C-S", "248832.00"), ("C-B", "51168.00")):
        city.approve(name, amount)
    city.wait()
    assert [city.pay(name) for name in ("C-A", "C-S", "C-B")] == [
        *("500000.00", "248832.00", "51168.00")
    ]
    city.claim("C-KA", "KA", 2025, "2500000.00")
    city.claim("C-KB", "KB", 2025, "1000000.00")
    city.claim("C-MB", "MB", 2025, "400000.00")
    city.claim("C-AD", "AD", 2025, "5000000.00")
    city.claim("C-EV", "EV", 2025, "2000000.00")
    others = {"C-KA": "600000.00", "C-KB": "300000.00", "C-MB": "120000.00"}
    others |= {"C-AD": "1500000.00", "C-EV": "1000000.00"}
    for name, amount in others.items():
        city.approve(name, amount)
    city.wait()
    assert {name: city.pay(name) for name in others} == others


def the_fraud(city: City) -> None:
    """March 2026: a month of usage was invented; part of the money comes back at once."""
    city.on("2026-03-10")
    city.void("a-11", reason="the auditors found that no such job ran")
    # 599,040.00 − 184,320.00; the coupon of 500,000.00 had paid 500,000.00.
    assert city.grants("A", 2025) == ("414720.00", "414720.00")
    assert city.debt("A", 2025) == "85280.00"
    red = {"year": 2025, "amount": "368640.00", "refunded": "368640.00", "issued_on": city.today}
    number = city.state.claims.claim("C-A").entered.invoices[0].number
    numbers = {"number": number, "red_number": "9" * 20, "confirmation": "red-1"}
    city.ask(commands.EnterRedInvoice, **numbers, **red)
    assert city.debt("A", 2025) == "85280.00"  # half of the rest is what the usage gives
    recovered = {"item": "A", "year": 2025, "amount": "60000.00", "bank_reference": "R-1"}
    city.ask(commands.RecoverDebt, **recovered)
    assert city.debt("A", 2025) == "25280.00"


def the_year_2026(city: City) -> None:
    """A lower ratio for all from July on, a merger, and the end of the Measures."""
    # 64 cards × 744 h × 4.00 = 190,464.00, and half of it.
    city.use("a-05", "A", ("2026-05-01", "2026-06-01"), 64)
    assert city.grants("A", 2026) == ("95232.00", "95232.00")
    city.on("2026-06-15").activate(LOWER)
    city.on("2026-06-20")
    city.claim("C-G", "G", 2025, "300000.00")
    city.approve("C-G", "150000.00")
    city.on("2026-07-10")
    merged = {"successor": ALPHA, "effective": "2026-07-10", "document": "合并登记"}
    city.ask(commands.SucceedEnterprise, uscc=GAMMA, **merged)
    with pytest.raises(Problem, match="succeeded"):
        city.contract("G2", enterprise=GAMMA, contract_no="PCL-26-001")
    city.expire(2025)
    with pytest.raises(Problem, match="claim_open"):
        city.close(2025)
    # What the successor owes for A is set off against what it gets for G.
    city.wait()
    assert city.pay("C-G") == "124720.00"
    assert city.debt("A", 2025) == "0.00"
    city.close(2025)
    # 190,464.00 again, and 40 % of it: 76,185.60.
    city.use("a-08", "A", ("2026-08-01", "2026-09-01"), 64)
    assert city.grants("A", 2026) == ("171417.60", "171417.60")
    # 100 cards for all of August at 3,000.00, and 40 %.
    city.use("g-08", "G", ("2026-08-01", "2026-09-01"), 100, provider="lg", keyid="lg-1")
    assert city.grants("G", 2026) == ("120000.00", "120000.00")
    # 50 cards × 720 h × 4.50 = 162,000.00, and 40 %.
    city.use("b-09", "B", ("2026-09-01", "2026-10-01"), 50, provider="lg", keyid="lg-1")
    assert city.grants("B", 2026) == ("64800.00", "64800.00")
    # The Measures end at midnight: of 3,072.00 half is eligible, and 40 % of that are 614.40.
    city.use("a-12", "A", ("2026-12-17", "2026-12-19"), 16)
    assert city.grants("A", 2026) == ("172032.00", "172032.00")
    assert city.ineligible("A") == {"outside_policy": 1_536 * 100 * DENOMINATOR}


def the_last_claims(city: City) -> None:
    """2027: claims for 2026; what nobody claims lapses, and the year is closed."""
    city.on("2027-02-10")
    city.claim("D-A", "A", 2026, "384000.00")
    city.claim("D-G", "G", 2026, "300000.00")
    for name, amount in (("D-A", "172032.00"), ("D-G", "120000.00")):
        city.approve(name, amount)
    city.wait()
    assert [city.pay(name) for name in ("D-A", "D-G")] == ["172032.00", "120000.00"]
    city.on("2027-07-01")
    with pytest.raises(Problem, match="year_closed"):
        city.claim("D-B", "B", 2026, "162000.00")
    city.expire(2026)
    city.close(2026)
    city.expire(2025, "corpus-coupon")
    city.close(2025, "corpus-coupon")


def statement(city: City) -> str:
    """Return what is left: each coupon with its items, then the pools, as lines of text."""
    state, lines = city.state, []
    for (uscc, programme, year), issued in sorted(state.coupons.items(), key=lambda it: it[0][2]):
        lines.append(f"{year} {programme} {NAMES[uscc]}: issued {format_money(issued)}")
        for contract in state.contracts_of(uscc, programme):
            entitled, granted = city.grants(contract.registered.id, year)
            item = f"  {contract.registered.id}: entitled {entitled}, granted {granted}"
            lines.append(f"{item}, {city.account(contract.registered.id, year)}")
        lines += [
            f"  {award.made.id}: awarded {format_money(award.amount)}, "
            f"{city.account(award.made.id, year)}"
            for award in state.enterprises[uscc].awards
            if (award.made.programme, award.made.year) == (programme, year)
        ]
    for (programme, year), pool in sorted(state.pools.items(), key=lambda it: it[0][::-1]):
        amounts = format_money(pool.amount), format_money(pool.issued)
        lines.append(f"{year} {programme}: pool {amounts[0]}, issued {amounts[1]}")
    return "\n".join([*lines, f"{state.size} entries"]) + "\n"


def told() -> City:
    """Tell the story."""
    city = City("2024-12-18T12:00:00+08:00")
    for chapter in CHAPTERS:
        chapter(city)
    return city


CHAPTERS = (
    the_first_days,
    the_contracts_of_2025,
    the_corpora_and_models_of_2025,
    the_year_2025,
    the_awards,
    the_claims_for_2025,
    the_fraud,
    the_year_2026,
    the_last_claims,
)


@pytest.fixture(scope="module")
def city() -> City:
    return told()


def test_what_is_left_is_the_golden_file(city):
    assert statement(city) == GOLDEN.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def audit(city) -> Recorder:
    """The audit of the exported ledger, which is good."""
    recorder = Recorder()
    with tempfile.TemporaryDirectory() as folder:
        city.export(Path(folder))
        report = verify(Path(folder), city.verifier, recorder)
    assert report.findings == []
    return recorder


def changes(audit: Recorder, *texts: str) -> dict[tuple[str, str, int], str]:
    """Return by item, figure and year what other policies would have changed."""
    outcome = compare(audit, texts, lambda _done, _total: None)
    assert outcome.cuts == []
    return {
        (each.item, each.figure, each.year): format_money(each.after - each.before)
        for each in outcome.figures
        if each.before != each.after
    }


def test_under_its_own_policies_nothing_differs(audit):
    assert changes(audit, *POLICIES) == {}


def test_without_the_lower_ratio_a_quarter_more_is_entitled_since_july_2026(audit):
    # A: of 190,464.00 and 1,536.00; G: of 300,000.00; B: of 162,000.00; a tenth of each.
    as_before = later(5_000)
    more = {"A": "19200.00", "B": "16200.00", "G": "30000.00"}
    found = changes(audit, as_before)
    assert {key[0]: fen for key, fen in found.items() if key[1] == "entitled"} == more
    assert {year for _, _, year in found} == {2026}


if __name__ == "__main__":
    GOLDEN.write_text(statement(told()), encoding="utf-8")
