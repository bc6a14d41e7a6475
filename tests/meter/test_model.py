"""Any history of commands and batches, compared with a model that is slow and obvious.

The model keeps the set of accepted records and computes everything from it anew, in fractions of a
yuan and with calendar dates. Only two things depend on history. One is who got the money (rule R):
the model keeps the grants and applies the two steps of the rule in its own code. The other is what
did not fit when a record came: each record keeps its short quarter-hours. The model shares no
arithmetic with the core. Each answer, each code of a refusal and every figure is compared after
every step, and at the end the independent sums of the audit must find no fault either.
"""

import json
from dataclasses import replace
from datetime import timedelta
from fractions import Fraction
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from ledger.canon import decode, encode
from meter.auditor.sums import Sums
from meter.client import registration
from meter.rules import commands
from meter.rules.decide_command import response_to
from meter.rules.evolve import evolve
from meter.rules.state import State
from meter.values.problems import Problem
from meter.wire import dsse
from tests.books import (
    DEVICE,
    ORIGIN,
    Books,
    balances,
    bounded,
    day_number,
    expected_balances,
    figures,
    public_text,
    signer,
    usage_by_day,
)
from tests.meter.paper.draws import (
    BASE_CONTRACT,
    BASE_ENTERPRISE,
    BASE_PROVIDER,
    KEYS,
    PROVIDERS,
    USCCS,
    amounts,
    award_bodies,
    contract_bodies,
    contract_ids,
    enlistments,
    enterprise_bodies,
    good_records,
    issue_years,
    placed,
    provider_bodies,
    providers,
    record_bodies,
    record_ids,
    requests,
)
from tests.meter.paper.model import Model
from tests.meter.paper.values import (
    PRIZE_TEXT,
    PROGRAMME,
    SECOND,
    START,
    TEXTS,
    YEARS,
    Refused,
    evidence,
    midnight,
    quarters,
)
from tests.snapshots import begun_again


class BooksMachine(RuleBasedStateMachine):
    """One ledger and the model, given the same steps."""

    def __init__(self) -> None:
        super().__init__()
        self.books = Books(now=START.isoformat())
        self.model = Model()
        self.replica = State()
        self.replayed = 0

    def both(self, core: Any, model: Any) -> None:
        """Ask both; both must return the same number or the same refusal."""
        answers = []
        for ask in (core, model):
            try:
                answers.append(ask())
            except Problem as problem:
                answers.append(problem.code)
            except Refused as refused:
                answers.append(str(refused))
        assert answers[0] == answers[1], answers

    @initialize(
        coupons=st.booleans(),
        audited=st.booleans(),
        versions=st.lists(st.sampled_from(["v2", "v3", "v3", "v4", "v4"]), max_size=2),
        cards=st.sampled_from([3, 8, 10_000_000]),
    )
    def begin(self, coupons: bool, audited: bool, versions: list[str], cards: int) -> None:
        """Begin with all that usage needs: two providers, two enterprises, contracts."""
        self.activate("v1")
        self.both(lambda: self.books.activate(PRIZE_TEXT), self.model.append)
        self.both(self.books.project, self.model.append)
        if audited:
            self.audit("20.00")
            self.fund("1", "national", "5.00")
            self.fund("2", "municipal", "5.00")
        for name, code in (("p1", USCCS[2]), ("p2", USCCS[3])):
            body = BASE_PROVIDER | {"id": name, "uscc": code, "devices": {DEVICE: cards}}
            self.provider(body)
        self.key("k1", "p1", "k1")
        self.key("k2", "p2", "k2")
        for code, founded_on in ((USCCS[0], "2019-04-01"), (USCCS[1], "2024-06-01")):
            self.enterprise(BASE_ENTERPRISE | {"uscc": code, "founded_on": founded_on})
        self.base_contract("A")
        self.base_contract("B", amount="70.01", max_devices={DEVICE: 4})
        self.base_contract("C", provider="p2")
        self.fund_contract("C", "1", "30.00")
        # At the threshold, signed on the day on which a startup is no longer one.
        self.base_contract("D", enterprise=USCCS[1], amount="80.00")
        self.base_contract("E", related_party=True)
        self.base_contract("M", prices={DEVICE: {"amount": "3000.00", "per": "month"}})
        if coupons:
            self.issue(USCCS[0], 2025, "60.00")
            self.issue(USCCS[0], 2026, "33.33")
            self.issue(USCCS[1], 2025, "20.00")
            self.issue(USCCS[1], 2026, "0.01")
        for version in versions:
            self.activate(version)
        if coupons:
            self.allocate(2026, [(USCCS[0], "20.00"), (USCCS[1], "33.33")])

    @rule(what=st.data())
    def register(self, what: Any) -> None:
        """Register any of these; as one rule, so that other rules run often enough."""
        match what.draw(st.sampled_from(["policy", "provider", "key", "enterprise", "contract"])):
            case "policy":
                self.activate(what.draw(st.sampled_from([*TEXTS])))
            case "provider":
                self.provider(what.draw(provider_bodies))
            case "key":
                self.key(*(what.draw(st.sampled_from(each)) for each in (KEYS, PROVIDERS, KEYS)))
            case "enterprise":
                self.enterprise(what.draw(enterprise_bodies))
            case _:
                self.contract(what.draw(contract_bodies))

    def activate(self, name: str) -> None:
        self.both(lambda: self.books.activate(TEXTS[name]), lambda: self.model.activate(name))

    def provider(self, body: dict) -> None:
        self.both(
            lambda: self.books.ask(commands.RegisterProvider, **body),
            lambda: self.model.provider(body),
        )

    @rule(
        provider=st.sampled_from(["p1", "p1", "p1", "p2", "none"]),
        devices=st.sampled_from([{DEVICE: 5}, {DEVICE: 5}, {DEVICE: 9, "unlisted": 2}]),
        enlisted=enlistments,
    )
    def enlist(self, provider: str, devices: dict, enlisted: dict) -> None:
        days = enlisted["from"], enlisted["until"]
        self.both(
            lambda: self.books.enlist(enlisted["batch"], devices, *days, provider),
            lambda: self.model.enlist(provider, devices, enlisted),
        )

    def key(self, keyid: str, provider: str, secret: str) -> None:
        model = self.model
        body = {"provider": provider} | registration(signer(secret), ORIGIN, provider, keyid)
        self.both(
            lambda: self.books.ask(commands.RegisterKey, **body),
            lambda: model.register("key", keyid, body, model.check_key, model.keys),
        )

    def enterprise(self, body: dict) -> None:
        model = self.model
        self.both(
            lambda: self.books.ask(commands.RegisterEnterprise, **body),
            lambda: model.register(
                "enterprise", body["uscc"], body, model.check_enterprise, model.enterprises
            ),
        )

    def base_contract(self, id_: str, **changes: Any) -> None:
        self.contract(BASE_CONTRACT | {"id": id_, "contract_no": id_} | changes)

    def contract(self, body: dict) -> None:
        self.both(
            lambda: self.books.ask(commands.RegisterContract, **body),
            lambda: self.model.contract(body),
        )

    @rule(
        contract=contract_ids,
        effective=st.sampled_from(["", "2025-12-31", "2026-01-01", "2026-01-03"]),
        price=st.sampled_from(["4.00", "0.3333", "9.99", {"amount": "2000.00", "per": "month"}]),
        changes=st.sampled_from(
            [{}, {"amount": "70.00"}, {"use": "research"}, {"related_party": True}]
        ),
    )
    def amend(self, contract: str, effective: str, price: Any, changes: dict) -> None:
        changes = {"prices": {DEVICE: price}} | ({} if effective else changes)
        signed = self.model.contracts.get(contract, BASE_CONTRACT)["signed_on"]

        def core() -> int:
            if effective:
                return self.books.supplement(effective, contract, signed_on=signed, **changes)
            return self.books.correct(contract, **changes)

        self.both(core, lambda: self.model.amend(contract, effective, changes))

    @rule(codes=st.sampled_from([(1, 0), (1, 0), (0, 1), (0, 2), (2, 1), (1, 1)]))
    def succeed(self, codes: tuple[int, int]) -> None:
        old, new = (USCCS[each] for each in codes)
        self.both(lambda: self.books.succeed(old, new), lambda: self.model.succeed(old, new))

    @rule(
        contract=st.sampled_from(["A", "A", "B", "D", "none"]),
        starts=st.sampled_from(["2025-11-01", "2025-12-20", "2026-01-01", "2026-02-01"]),
        ends=st.sampled_from(["2026-01-01", "2026-01-02", "2026-02-01", "2026-03-01"]),
        open_until=st.sampled_from(["2026-01-06", "2026-03-01", "2027-01-01"]),
    )
    def late_window(self, contract: str, starts: str, ends: str, open_until: str) -> None:
        self.both(
            lambda: self.books.late_window(starts, ends, open_until, contract),
            lambda: self.model.late_window(contract, starts, ends, open_until),
        )

    @rule(keyid=st.sampled_from(["k2", "k3", "k3", "none"]))
    def revoke(self, keyid: str) -> None:
        self.both(lambda: self.books.revoke(keyid), lambda: self.model.revoke(keyid))

    @rule(contract=contract_ids, frozen=st.booleans())
    def freeze(self, contract: str, frozen: bool) -> None:
        # A frozen contract soon thaws, or nothing would happen any more.
        frozen = frozen and not self.model.frozen
        ask = self.books.freeze if frozen else self.books.unfreeze
        self.both(lambda: ask(contract), lambda: self.model.freeze(contract, frozen))

    @rule(enterprise=st.sampled_from([USCCS[0], *USCCS[:3]]), year=issue_years, amount=amounts)
    def issue(self, enterprise: str, year: int, amount: str) -> None:
        self.both(
            lambda: self.books.issue(year, amount, enterprise),
            lambda: self.model.issue(enterprise, year, amount),
        )

    @rule(enterprise=st.sampled_from([USCCS[0], *USCCS[:3]]), year=issue_years, amount=amounts)
    def withdraw(self, enterprise: str, year: int, amount: str) -> None:
        self.both(
            lambda: self.books.withdraw(year, amount, enterprise),
            lambda: self.model.withdraw(enterprise, year, amount),
        )

    @rule(
        year=st.sampled_from([2026, 2026, 2026, 2025]),
        requests=requests,
    )
    def allocate(self, year: int, requests: list[tuple[str, str]]) -> None:
        self.both(
            lambda: self.books.allocate(year, *requests),
            lambda: self.model.allocate(year, requests),
        )

    @rule(year=issue_years)
    def expire(self, year: int) -> None:
        self.both(lambda: self.books.expire(year), lambda: self.model.expire(year))

    @rule(year=issue_years)
    def close(self, year: int) -> None:
        self.both(lambda: self.books.close(year), lambda: self.model.close(year))

    @rule(day=st.sampled_from(["2026-02-01", "2026-03-01"]), closed=st.booleans())
    def let_a_year_end(self, day: str, closed: bool) -> None:
        """Let the claims for 2025 end, and what coupons have left expire."""
        self.wait(max(0, (midnight(day) - self.model.now) // SECOND))
        self.expire(2025)
        if closed:
            self.close(2025)

    @rule(
        year=issue_years,
        amount=st.sampled_from(["0.00", "60.00", "93.33", "150.00", "150.01", "200.00", "200.01"]),
    )
    def budget(self, year: int, amount: str) -> None:
        self.both(lambda: self.books.budget(year, amount), lambda: self.model.budget(year, amount))

    @rule(
        reference=st.sampled_from(["1", "2"]),
        level=st.sampled_from(["national", "district", "municipal"]),
        amount=st.sampled_from(["0.00", "0.00", "5.00"]),
    )
    def fund(self, reference: str, level: str, amount: str) -> None:
        self.both(
            lambda: self.books.fund(amount, reference=reference, level=level),
            lambda: self.model.fund(reference, level, amount),
        )

    @rule(
        contract=contract_ids,
        reference=st.sampled_from(["1", "2"]),
        amount=st.sampled_from(["0.00", "10.00", "39.99", "99.00"]),
    )
    def fund_contract(self, contract: str, reference: str, amount: str) -> None:
        self.both(
            lambda: self.books.fund_contract(contract, amount, reference=reference),
            lambda: self.model.fund_contract(contract, reference, amount),
        )

    @rule(amount=st.sampled_from(["0.00", "10.00", "20.00", "99.00"]))
    def audit(self, amount: str) -> None:
        self.both(lambda: self.books.audit(amount), lambda: self.model.audit(amount))

    @rule(body=award_bodies)
    def award(self, body: dict) -> None:
        self.both(
            lambda: self.books.ask(commands.MakeAward, **body), lambda: self.model.award(body)
        )

    @rule(id_=st.sampled_from(["W", "W", "X", "Y", "A"]), amount=amounts)
    def change_award(self, id_: str, amount: str) -> None:
        size = self.model.size

        def core() -> int | None:
            number = self.books.change_award(id_, amount)
            return number if number >= size else None

        self.both(core, lambda: self.model.change_award(id_, amount))

    @rule(provider=providers, id_=record_ids)
    def void_by_name(self, provider: str, id_: str) -> None:
        self.void(provider, id_)

    @rule(pick=st.integers(0, 50))
    def void_one_that_is_there(self, pick: int) -> None:
        if self.model.records:
            self.void(*sorted(self.model.records)[pick % len(self.model.records)])

    def void(self, provider: str, id_: str) -> None:
        self.both(lambda: self.books.void(id_, provider), lambda: self.model.void(provider, id_))

    @rule(provider=providers, id_=record_ids)
    def release_by_name(self, provider: str, id_: str) -> None:
        self.release(provider, id_)

    @rule(pick=st.integers(0, 50), standing=st.booleans())
    def release_one_that_is_withheld(self, pick: int, standing: bool) -> None:
        records = self.model.records
        named = sorted(
            id_
            for id_, each in records.items()
            if each.short and not (standing and (each.released or each.voided))
        )
        if named:
            self.release(*named[pick % len(named)])

    def release(self, provider: str, id_: str) -> None:
        def core() -> dict:
            number = self.books.release(id_, provider)
            return response_to(self.books.state, number, self.books.entries[number])

        self.both(core, lambda: self.model.release(provider, id_))

    @rule(seconds=st.sampled_from([1, 3_600, 86_400, 5 * 86_400, 39 * 86_400]))
    def wait(self, seconds: int) -> None:
        self.model.now += timedelta(seconds=seconds)
        self.books.at(self.books.now + seconds * 1_000_000)

    @rule(
        keyid=st.sampled_from(["k1", "k1", "k1", "k2", "k3"]),
        drawn=st.lists(record_bodies(), min_size=1, max_size=4),
        voids=st.lists(record_ids, max_size=2),
        wrong=st.sampled_from([{}] * 9 + [{"log": "kashi.test/x"}, {"provider": "p2"}]),
    )
    def post(self, keyid: str, drawn: list[dict], voids: list[str], wrong: dict) -> None:
        self.send(keyid, [placed(each, self.model.now) for each in drawn], voids, wrong)

    @rule(drawn=st.lists(good_records(), min_size=1, max_size=3), pick=st.integers(0, 50))
    def post_good_records_and_a_void(self, drawn: list[dict], pick: int) -> None:
        """Most random records break a rule; these rarely do."""
        named = [
            placed(each | {"id": f"s{self.model.size}.{number}"}, self.model.now)
            for number, each in enumerate(drawn)
        ]
        ours = sorted(id_ for provider, id_ in self.model.records if provider == "p1")
        self.send("k1", named, [ours[pick % len(ours)]] if ours and pick % 2 else [], {})

    @rule(drawn=st.lists(good_records(), min_size=2, max_size=4))
    def post_good_records_under_any_id(self, drawn: list[dict]) -> None:
        self.send("k1", [placed(each, self.model.now) for each in drawn], [], {})

    @rule(drawn=good_records(), days=st.sampled_from([40, 41, 60]), opened=st.booleans())
    def post_a_late_record(self, drawn: dict, days: int, opened: bool) -> None:
        if opened:
            self.late_window(drawn["contract"], "2025-10-01", "2026-02-01", "2026-04-01")
        late = drawn | {"id": f"s{self.model.size}", "ago": days * 86_400}
        self.send("k1", [placed(late, self.model.now)], [], {})

    @rule(drawn=good_records())
    def the_other_provider_posts(self, drawn: dict) -> None:
        self.send("k2", [placed(drawn | {"contract": "C"}, self.model.now)], [], {})

    @rule(pick=st.integers(0, 50), field=st.sampled_from(["start", "run", "milli_devices", None]))
    def post_a_record_again(self, pick: int, field: str | None) -> None:
        if not self.model.records:
            return
        provider, id_ = sorted(self.model.records)[pick % len(self.model.records)]
        again = dict(self.model.records[provider, id_].body)
        if field:
            again |= {field: {"start": again["end"], "run": "x", "milli_devices": 2}[field]}
        self.send({"p1": "k1", "p2": "k2"}[provider], [again], [], {})

    @rule(keyid=st.sampled_from(KEYS), altered=st.booleans(), pick=st.integers(0, 50))
    def post_a_used_number(self, keyid: str, altered: bool, pick: int) -> None:
        if not self.model.batches:
            return
        numbers = sorted(self.model.batches)
        provider, stream, seq = numbers[pick % len(numbers)]
        payload, _ = self.model.batches[provider, stream, seq]
        self.deliver(keyid, payload + b" " if altered else payload)

    def send(self, keyid: str, records: list[dict], voids: list[str], wrong: dict) -> None:
        provider = self.model.keys.get(keyid, {"provider": "p1"})["provider"]
        named = [{"id": id_, "reason": "test"} for id_ in voids]
        self.deliver(keyid, self.books.payload(records, named, **({"provider": provider} | wrong)))

    def deliver(self, keyid: str, payload: bytes) -> None:
        """Sign with the registered key of a name, and compare all results."""
        batch = json.loads(payload)
        secrets = {public_text(signer(name)): name for name in KEYS}
        registered = self.model.keys.get(keyid, {"public_key": public_text(signer(keyid))})
        secret = signer(secrets[registered["public_key"]])
        data = dsse.seal(dsse.BATCH_TYPE, payload, keyid, secret)

        def core() -> Any:
            before = len(self.books.entries)
            receipt = self.books.send(data)
            if len(self.books.entries) == before:
                return receipt
            number = batch["provider"], batch["stream"], batch["seq"]
            self.model.batches[number] = payload, receipt
            answer = self.books.receipt()
            return {
                "entries": answer["entries"],
                "voids": [undetailed(each) for each in answer["voids"]],
                "results": [undetailed(each) for each in answer["results"]],
            }

        known = dict(self.model.batches)
        try:
            answer = core()
        except Problem as problem:
            answer = problem.code
        self.model.batches, now_known = known, self.model.batches
        try:
            expected = self.model.post(keyid, batch, payload)
        except Refused as refused:
            expected = str(refused)
        self.model.batches = now_known
        assert answer == expected

    def teardown(self) -> None:
        """Compare the end with the postings, the records and the sums."""
        *_, accounts = balances(self.books.entries)
        assert accounts == expected_balances(self.books.state)
        self.records_are_told_as_the_model_has_them()
        sums = Sums()
        for number, entry in enumerate(self.books.entries):
            sums.entry(number, encode(entry))
        sums.finish()

    def records_are_told_as_the_model_has_them(self) -> None:
        """Check that use follows from the records alone, and each entry has its evidence."""
        model = Model(contracts=self.model.contracts)
        for record in self.model.records.values():
            usage = decode(encode(self.books.entries[record.entry]))
            days = list(replace(record, released=False).by_day())
            assert usage["fits"] == [[day_number(day), fits] for day, _, fits, _ in days if fits]
            withheld = [[day_number(day), held] for day, *_, held in days if held]
            assert usage.get("withheld", []) == withheld
            assert usage.get("evidence", []) == evidence(record.short)
            if not record.voided:
                held = {each.quarter: -each.time for each in record.withheld()}
                model.use(record.body, [*quarters(record.body), *held.items()])
        self.days_are_those_of_the_records()
        in_use = figures(self.books.state)["records"]["in_use"]
        assert in_use == {name: dict(+each) for name, each in model.in_use.items() if +each}

    def days_are_those_of_the_records(self) -> None:
        """Check how much there is, fits and is withheld by contract, day and device kind."""
        expected: dict[tuple[str, int, str], list[int]] = {}
        for contract in self.model.contracts.values():
            for record in self.model.live(contract):
                for day, *times in record.by_day():
                    key = contract["id"], day_number(day), record.body["device"]
                    known = expected.get(key, [0, 0, 0])
                    expected[key] = [a + b for a, b in zip(known, times, strict=True)]
        assert usage_by_day(self.books.state) == expected

    @rule()
    def begin_again(self) -> None:
        """Let the replay go on from a snapshot of itself."""
        self.replica = begun_again(self.replica, self.books.entries)

    @invariant()
    def each_figure_is_the_models_and_a_replay_comes_to_the_same(self) -> None:
        for entry in self.books.entries[self.replayed :]:
            evolve(self.replica, entry)
        self.replayed = len(self.books.entries)
        assert figures(self.replica) == figures(self.books.state)
        model, state = self.model, self.books.state
        assert state.size == model.size
        assert set(state.contracts) == set(model.contracts)
        standing = {id_: model.standing(body) for id_, body in model.contracts.items()}
        for id_, body in model.contracts.items():
            cost, entitled, granted = standing[id_]
            assert Fraction(self.books.cost(id_), 100) == cost
            self.each_year_is_the_models(body)
            for year in YEARS:
                share = self.books.share(id_, year)
                assert Fraction(share.entitled, 100) == entitled[year]
                assert Fraction(share.granted, 100) == granted[year]
        issued = {id_: amount for id_, amount in model.issued.items() if amount}
        assert issued == {
            (enterprise, year): Fraction(fen, 100)
            for (enterprise, programme, year), fen in state.coupons.items()
            if fen and programme == PROGRAMME
        }
        self.coupons_pay_what_they_can(standing)
        assert {id_: each["is"] for id_, each in model.awards.items()} == {
            id_: Fraction(each.amount, 100) for id_, each in state.awards.items()
        }
        set_aside = {year: max(model.limit(year), model.issued_from(year)) for year in model.pools}
        assert set_aside == {
            year: Fraction(pool.amount, 100) for (_, year), pool in state.pools.items()
        }

    def coupons_pay_what_they_can(self, standing: dict[str, tuple]) -> None:
        """Check that what is granted is the smaller of what is issued and what is entitled."""
        for enterprise in self.model.enterprises:
            of_firm = [standing[each["id"]] for each in self.model.contracts_of(enterprise)]
            for year in YEARS:
                entitled = sum(each[year] for _, each, _ in of_firm)
                granted = sum(each[year] for _, _, each in of_firm)
                assert granted == min(self.model.issued.get((enterprise, year), 0), entitled)

    def each_year_is_the_models(self, contract: dict) -> None:
        """Compare what is eligible, withheld and ineligible, before any rounding."""
        withheld = self.model.withheld(contract)
        yuan_ = 100 * self.books.state.contracts[contract["id"]].terms.denominator
        shares = self.books.state.contracts[contract["id"]].shares
        for year in {*YEARS, *shares, *withheld}:
            share = self.books.share(contract["id"], year)
            eligible = self.model.eligible(contract, year)
            ours = self.books.eligible(contract["id"], year)
            assert Fraction(ours, yuan_) == eligible
            assert Fraction(share.withheld, yuan_) == withheld.get(year, 0)
        reasons = self.model.ineligible(contract)
        assert {
            reason: Fraction(numerator, yuan_)
            for reason, numerator in self.books.ineligible(contract["id"]).items()
        } == {reason: cost for reason, cost in reasons.items() if cost}


def undetailed(result: dict) -> dict:
    return {name: each for name, each in result.items() if name != "detail"}


TestBooks = bounded(BooksMachine, examples=200, steps=50)
