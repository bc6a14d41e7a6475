"""`kashi demo`: the whole story once, on real parts, told step by step.

    a new ledger -> rules, contracts, coupons -> signed usage over HTTP -> a coupon runs out
      -> a void gives money back -> a claim is paid -> a debt comes back -> the year is closed
      -> export -> verification -> two forgeries -> balances

The service runs in this process on a PostgreSQL of its own, and everybody speaks to it over HTTP.
Usage comes from a scenario (`meter.demo.scenario`). Each step is checked: the service's responses
against the verified folder, and both against the provider's own count. The first step that fails
ends the demonstration with exit code 1.
"""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import count, groupby
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from ledger import canon
from ledger.errors import LedgerError
from ledger.note import Signer, Verifier
from ledger.report import Report
from ledger.verify import verify
from meter.agent.simulate import simulated_key
from meter.auditor.replay import Audit
from meter.client import (
    ClientError,
    Refused,
    Service,
    Stream,
    VerifiedReceipt,
    registration,
)
from meter.demo.books import FolderBooks
from meter.demo.cast import CAP, KEYID, PROVIDER, Cast
from meter.demo.clock import MovedClock
from meter.demo.ending import Ending
from meter.demo.forgery import flip_bit, grant_a_fen_more
from meter.demo.payment import Payment, Persons
from meter.demo.scenario import SEED, ClusterScenario, Scenario, TraceScenario
from meter.demo.telling import Story, fen_of, money, money_text, plain_table, result_table
from meter.demo.trace import TraceError
from meter.host.clock import clock_by_hand
from meter.host.data_folder import DATABASE_VARIABLE, DataFolder, database_url
from meter.host.keys import Keys
from meter.host.metrics import Metrics
from meter.host.postgres import PostgresError
from meter.host.tokens import Identity
from meter.publish.export import export
from meter.service import running as service_running
from meter.service import setup
from meter.service.admin import add_token
from meter.service.setup import SetupError
from meter.values.policy import ClaimRules, Policy
from meter.values.problems import Problem
from meter.values.units import (
    DAY_SECONDS,
    MICROSECONDS,
    add_months,
    format_date,
    parse_date,
)
from meter.wire.batch import Batch, Record
from meter.wire.receipt import Accepted, Receipt, Result

ORIGIN: Final = "kashi.example/shenzhen"
AUTHORITY: Final = setup.Authority(("wang", "li"))


class DemoError(Exception):
    """A step of the demonstration has failed."""


_FAULTS: Final = (
    *(DemoError, ClientError, LedgerError, PostgresError, Problem, SetupError, TraceError),
    OSError,
)


async def demo(trace: Path | None, folder: Path, console: Console, *, kept: bool = False) -> int:
    """Run the story in an empty folder and return the exit code.

    With `trace`, usage comes from that file. `kept` is true where the folder will stay.
    """
    story = Story(console)
    try:
        await _run_steps(_scenario(trace), folder, story)
    except _FAULTS as fault:
        story.bad(f"The demonstration failed: {fault}")
        return 1
    if kept:
        story.say(f"To look closer: kashi verify {folder / 'export'} --vkey {folder / 'log.vkey'}")
    return 0


def _scenario(trace: Path | None) -> Scenario:
    if trace is None:
        return ClusterScenario()
    return TraceScenario(trace.name, trace.read_text(encoding="utf-8-sig", errors="replace"))


async def _run_steps(scenario: Scenario, path: Path, story: Story) -> None:
    if database_url() is not None:
        raise DemoError(f"{DATABASE_VARIABLE} is set; the demonstration keeps out of your database")
    folder, clock, exported = DataFolder(path), MovedClock(scenario.begins), path / "export"
    story.title(
        "Kashi (卡时): compute vouchers metered exactly, on a ledger that anyone can verify"
    )
    story.say(
        "A real service on a PostgreSQL of its own, spoken to over HTTP; the firms are made up."
    )
    setup.check_test_clock(ORIGIN)
    await setup.initialise(folder, ORIGIN, AUTHORITY, clock_by_hand(clock))
    signer = Signer.parse(folder.log_key.read_text(encoding="utf-8").strip())
    async with (
        service_running.running(folder, clock=clock_by_hand(clock)) as running,
        Service(running.url, _token(folder, "wang")) as wang,
        Service(running.url, _token(folder, "li")) as li,
    ):
        story.step("A new ledger")
        story.say(f"{ORIGIN} answers at {running.url}, where it is {clock}.")
        stage = await _set_stage(story, scenario.cast, clock, wang, li)
        await _register(stage, scenario)
        await _post_usage(stage, scenario)
        _show_plain(stage, running.metrics)
        _show_shortfall(stage, scenario)
        await _void_one(stage, scenario)
        paid = await _pay_claim(stage, scenario.rules, folder, running.url)
        if paid is not None:
            await _take_back(stage, *paid)
            await _end_year(stage, scenario.rules, paid[1]["year"])
        balances = await _ask_balances(stage)
        story.step("The ledger is exported, the service stops, and an auditor verifies the folder")
        with story.bar("exporting entries") as advance:
            await export(running.address, Keys(folder), exported, advance)
    read = _verify_export(story, exported, signer.verifier)
    _forge(stage, path, signer)
    story.step("Balances")
    _show_balances(stage, balances)
    _check_balances(story, balances, read)
    _check_device_time(story, scenario, read)


def _token(folder: DataFolder, person: str) -> str:
    return folder.token_of(person).read_text(encoding="utf-8").strip()


# The stage


@dataclass(slots=True)
class _Stage:
    """What the steps share while the service runs, and what they find."""

    story: Story
    cast: Cast
    clock: MovedClock
    http: Service  # of the authority's first person
    second: Service
    receipt_key: str
    stream: Stream
    requests: Iterator[int] = field(default_factory=lambda: count(1))
    classes: dict[str, str] = field(default_factory=dict)  # by enterprise
    accepted: list[tuple[Record, Accepted]] = field(default_factory=list)

    async def decide(self, command: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Let one person of the authority propose a command, and the other confirm it."""
        return await self.confirm(self.second, await self.propose(command, body))

    async def propose(self, command: str, body: Mapping[str, Any]) -> int:
        """Propose a command, under a fresh idempotency key; return the proposal's number."""
        proposal = {"command": command, "body": body}
        answer = await self.http.command("/v1/proposals", proposal, f"demo-{next(self.requests)}")
        return int(answer["entry"])

    async def confirm(self, person: Service, proposal: int) -> dict[str, Any]:
        """Confirm a proposal as one of the persons."""
        path = f"/v1/proposals/{proposal}/confirm"
        return await person.command(path, {}, f"demo-{next(self.requests)}")

    async def post(self, batch: Batch) -> VerifiedReceipt:
        """Post as the provider."""
        return await self.http.post_batch(self.stream.sign(batch), self.receipt_key)


async def _set_stage(
    story: Story, cast: Cast, clock: MovedClock, http: Service, second: Service
) -> _Stage:
    """Set the stage, with what entry 0 says to a provider that joins."""
    genesis = (await http.ask("/v1/entries/0"))["entry"]
    stream = Stream(
        log=ORIGIN,
        genesis=sha256(canon.encode(genesis)).hexdigest(),
        provider=PROVIDER,
        name=cast.stream,
        keyid=KEYID,
        key=simulated_key(SEED),
    )
    key = genesis["receipt_key"]["public_key"]
    return _Stage(story, cast, clock, http, second, key, stream)


# The steps


async def _register(stage: _Stage, scenario: Scenario) -> None:
    stage.story.step("The authority sets the rules and registers who takes part")
    table = plain_table("entry", "", right=("entry",))

    async def add(command: str, body: Mapping[str, Any], told: str) -> dict[str, Any]:
        answer = await stage.decide(command, body)
        kind = f", {answer['class']}" if "class" in answer else ""
        table.add_row(str(answer["entry"]), told + kind)
        return answer

    cast = stage.cast
    await add("policy", scenario.policy, _policy_line(scenario.rules))
    devices = ", ".join(f"{number:,} {kind}" for kind, number in cast.provider["devices"].items())
    await add("provider", cast.provider, f"provider {PROVIDER}: {devices}")
    signing = registration(stage.stream.key, stage.stream.log, PROVIDER, KEYID)
    await add("key", {"provider": PROVIDER, **signing}, f"its signing key {KEYID}")
    for body in cast.enterprises:
        told = f"{body['kind']} {body['name']}, founded {body['founded_on']}"
        await add("enterprise", body, told)
    for body in cast.contracts:
        uscc = str(body["enterprise"])
        told = f"contract {body['id']} of {cast.name_of(uscc)} over {money_text(body['amount'])}"
        stage.classes[uscc] = (await add("contract", body, told))["class"]
    for body in cast.coupons:
        amount, name = money_text(body["amount"]), cast.name_of(body["enterprise"])
        await add("issue", body, f"coupon {body['year']} for {name}: {amount}")
    stage.story.show(table)
    await _try_alone(stage)
    await _try_beyond_cap(stage)


def _policy_line(rules: Policy) -> str:
    assert rules.cap is not None, "the Measures have one"
    standard, startup = (rules.ratio_bp[name] // 100 for name in ("standard", "startup"))
    return (
        f"policy {rules.programme} {rules.version}: {standard} %, startups {startup} %,"
        f" {money(rules.cap)} a year at most"
    )


async def _try_alone(stage: _Stage) -> None:
    """Let one person try what needs two."""
    proposal = await stage.propose("issue", stage.cast.coupons[0])
    try:
        await stage.confirm(stage.http, proposal)
    except Refused as refused:
        _must(refused.code == "same_person", f"one person twice was refused as {refused}")
        wang, li = AUTHORITY.persons
        stage.story.good(f"{wang} proposed each of these, and {li} confirmed it")
        stage.story.good(f"{wang} alone is refused: {refused}")
        await stage.http.command(
            f"/v1/proposals/{proposal}/end", {}, f"demo-{next(stage.requests)}"
        )
        return
    raise DemoError("one person confirmed an own proposal")


async def _try_beyond_cap(stage: _Stage) -> None:
    coupon = next(body for body in stage.cast.coupons if body["amount"] == CAP)
    try:
        await stage.decide("issue", {**coupon, "amount": "0.01"})
    except Refused as refused:
        _must(refused.code == "cap_exceeded", f"a fen above the cap was refused as {refused}")
        stage.story.good(
            f"a fen more for {stage.cast.name_of(coupon['enterprise'])} is refused: {refused}"
        )
        return
    raise DemoError("a fen above the cap was issued")


async def _post_usage(stage: _Stage, scenario: Scenario) -> None:
    story = stage.story
    story.step(scenario.title)
    table = plain_table("", "")
    table.show_header = False
    for what, how in scenario.explain():
        table.add_row(what, how)
    story.show(table)
    batches = scenario.work(stage.stream)
    total = sum(len(batch.records) for _, batch in batches)
    with story.bar("posting signed records") as advance:
        for moment, batch in batches:
            stage.clock.move_to(moment)
            answer = await stage.post(batch)
            _note_results(stage, batch, answer.receipt)
            advance(len(stage.accepted), total)
    story.good(
        f"{total:,} records accepted in {len(batches):,} batches, each with a receipt whose"
        " signature was checked"
    )
    _must(await stage.post(batch) == answer, "the same batch got two receipts")
    story.good("the last batch sent again, as after a lost answer: the same receipt")


def _note_results(stage: _Stage, batch: Batch, receipt: Receipt) -> None:
    for record, result in zip(batch.records, receipt.results, strict=True):
        stage.accepted.append((record, _accepted(result)))


def _accepted(result: Result) -> Accepted:
    if not isinstance(result, Accepted):
        raise DemoError(f"{result.id} was not accepted: {result}")
    return result


def _show_plain(stage: _Stage, metrics: Metrics) -> None:
    """Say how many records were judged by groups, as the metrics count them."""
    plain = metrics.registry.get_sample_value("kashi_plain_records_total") or 0.0
    share = plain / len(stage.accepted)
    stage.story.good(f"{share:.1%} of them were judged by groups, the others one by one")


def _show_shortfall(stage: _Stage, scenario: Scenario) -> None:
    """Show the first record that a coupon covers in part, or not at all."""
    story = stage.story
    story.step("A coupon runs out in the middle of a record")
    short = [(record, result) for record, result in stage.accepted if fen_of(result.uncovered) > 0]
    partly = [(record, result) for record, result in short if fen_of(result.granted) > 0]
    if scenario.coupon_runs_out:
        _must(bool(partly), "no record was covered in part")
    if not short:
        story.say("Not here: the coupons cover all of this usage.")
        return
    record, result = (partly or short)[0]
    body = next(body for body in stage.cast.contracts if body["id"] == record.contract)
    name = stage.cast.name_of(body["enterprise"])
    story.say(f"{record.id} of {record.contract} ({name}). From its signed receipt, in yuan:")
    story.show(result_table(result))
    _must("coupon" in result.bound, "the receipt does not name the coupon as what binds")
    _must(
        fen_of(result.entitled) == fen_of(result.granted) + fen_of(result.uncovered),
        "granted and uncovered are not what it is entitled to",
    )
    later = len(short) - 1
    story.say(f"What it cannot cover is recorded, never dropped; so with {later:,} later records.")


async def _void_one(stage: _Stage, scenario: Scenario) -> None:
    """Void a record that gives money back."""
    story = stage.story
    story.step("A void gives money back")
    record = _record_to_void(stage, scenario, await _ask_balances(stage))
    if record is None:
        _must(not scenario.coupon_runs_out, "no record would give money back")
        story.say("Not here: no record's void would.")
        return
    batch = scenario.apply_void(record)
    result = _accepted((await stage.post(batch)).receipt.voids[0])
    story.say(
        f"The provider takes {record.id} of {record.contract} back: {batch.voids[0].reason}."
        " Its receipt shows its own contract alone:"
    )
    story.show(result_table(result))
    _must(fen_of(result.granted) < 0, "the void gave nothing back")
    entry = (await stage.http.ask(f"/v1/entries/{result.entry}"))["entry"]
    back, on = _show_who_gets_it(story, result.entry, entry["postings"])
    _must(back == -fen_of(result.granted), "receipt and entry differ in what comes back")
    _must(on > 0 or not scenario.coupon_runs_out, "nobody who was short got the money")


def _show_who_gets_it(
    story: Story, number: int, postings: Sequence[tuple[str, str, int]]
) -> tuple[int, int]:
    """Show a void's postings; return what comes back to the coupon and what goes on from it."""
    story.say(f"Entry {number} shows who gets it:")
    table = plain_table("from → to", "yuan", right=("yuan",))
    for debtor, creditor, fen in postings:
        table.add_row(f"{debtor} → {creditor}", money(fen))
    story.show(table)
    back = sum(fen for debtor, _, fen in postings if debtor.startswith("accrued:"))
    on = sum(fen for debtor, _, fen in postings if debtor.startswith("coupon:"))
    told = [f"{money(on)} go on to the contract that was short"] * (on > 0)
    told += [f"{money(back - on)} are free in the coupon again"] * (back > on)
    story.good(f"of {money(back)} that come back, {' and '.join(told)}")
    return back, on


def _record_to_void(
    stage: _Stage, scenario: Scenario, balances: Sequence[Mapping[str, Any]]
) -> Record | None:
    """Return the record whose void gives most back, best to a contract that is short."""
    # By contract and year: what it lacks itself, and what others under the same coupon lack.
    lacking: dict[tuple[str, str], tuple[int, int]] = {}
    for balance in balances:
        for share in balance["contracts"]:
            own = fen_of(share["uncovered"])
            others = fen_of(balance["uncovered"]) - own
            lacking[share["contract"], str(balance["year"])] = own, others
    capped = {record.contract for record, result in stage.accepted if {*result.bound} - {"coupon"}}
    found: list[tuple[bool, int, Record | None]] = []
    for record, result in stage.accepted:
        if len(result.by_year) == 1 and record.contract not in capped and scenario.may_void(record):
            own, others = lacking[record.contract, next(iter(result.by_year))]
            # What the contract lacks goes first; only the rest is money that moves.
            back = fen_of(result.entitled) - own
            if back > 0:
                found.append((others > 0, back, record))
    return max(found, key=lambda each: each[:2], default=(False, 0, None))[2]


async def _pay_claim(
    stage: _Stage, rules: Policy, folder: DataFolder, url: str
) -> tuple[str, dict[str, Any]] | None:
    """Pay a claim for the largest grant of a year whose claims are open.

    Return whose it was, and the account; None where nothing is granted.
    """
    stage.story.step("An enterprise claims what it was granted, and the city pays")
    assert rules.claims is not None, "the shipped policy has rules for claims"
    found = await _largest_account(stage, rules.claims)
    if found is None:
        stage.story.say("Not here: no coupon has granted anything that can be claimed.")
        return None
    uscc, account = found
    days = rules.claims.notice_days
    token = await add_token(folder, Identity("firm", "enterprise", uscc))
    async with Service(url, token) as firm:
        persons = Persons(firm, stage.http, stage.second)
        parties = {"seller": stage.cast.provider["uscc"], "buyer": uscc}
        payment = Payment(persons, account, parties, days)
        await payment.enter(stage.clock())
        await payment.review(stage.clock())
        stage.clock.move_to(stage.clock() // MICROSECONDS + (days + 1) * DAY_SECONDS)
        await payment.pay(stage.clock())
        paid = (await _account(stage, uscc, account))["paid"]
    table = plain_table("who", "what", "yuan", right=("yuan",))
    for who, what, fen in payment.rows:
        table.add_row(who, what, money_text(fen) if fen else "")
    stage.story.show(table)
    stage.story.good(f"who checked it may not approve it: {payment.refusal}")
    _must(paid == account["granted"], f"{paid} was paid of {account['granted']}")
    stage.story.good(f"{stage.cast.name_of(uscc)} was paid all that {account['item']} was granted")
    return found


async def _take_back(stage: _Stage, uscc: str, account: dict[str, Any]) -> None:
    """Find a breach, take a part of the grant away, and let the money come back."""
    item, year = account["item"], account["year"]
    stage.story.step("A breach is found: a part is taken away and comes back")
    ending = Ending(stage.decide, stage.cast.coupons[0]["programme"], year)
    taken = await ending.forfeit(item, account["granted"])
    debt = (await _account(stage, uscc, account))["debt"]
    _must(debt == taken, f"{taken} was taken away, and the debt is {debt}")
    stage.story.say(f"{money_text(taken)} of {item} are forfeited; what was paid leaves that debt.")
    await ending.recover(item, debt)
    after = await _account(stage, uscc, account)
    _must(after["debt"] == "0.00", f"after the recovery {after['debt']} are owed")
    stage.story.good(f"{stage.cast.name_of(uscc)} paid {money_text(debt)} back and owes nothing")


async def _account(stage: _Stage, uscc: str, account: Mapping[str, Any]) -> dict[str, Any]:
    """Return the account of an item and year as it is now."""
    path = f"/v1/enterprises/{uscc}/accounts"
    accounts = (await stage.http.ask(path, item=account["item"]))["accounts"]
    return next(each for each in accounts if each["year"] == account["year"])


async def _end_year(stage: _Stage, rules: Policy, year: int) -> None:
    """Close a year once its claims are over."""
    assert rules.claims is not None, "the shipped policy has rules for claims"
    ends = add_months(f"{year + 1}-01-01", rules.claims.months)
    stage.story.step(f"Claims for {year} are over: what coupons have left expires")
    stage.clock.move_to(max(parse_date(ends), stage.clock() // MICROSECONDS))
    table = plain_table("who", "what", "yuan", right=("yuan",))
    for who, what, fen in await Ending(stage.decide, rules.programme, year).close():
        table.add_row(who, what, money_text(fen) if fen else "")
    stage.story.show(table)


async def _largest_account(stage: _Stage, rules: ClaimRules) -> tuple[str, dict[str, Any]] | None:
    """Return whose account has the largest grant of a year whose claims are open, and the account.

    None where nothing is granted.
    """
    today = format_date(stage.clock() // MICROSECONDS)
    found: list[tuple[int, str, dict[str, Any]]] = []
    for body in stage.cast.enterprises:
        uscc = str(body["uscc"])
        accounts = (await stage.http.ask(f"/v1/enterprises/{uscc}/accounts"))["accounts"]
        found += (
            (fen_of(each["granted"]), uscc, each)
            for each in accounts
            if today < add_months(f"{each['year'] + 1}-01-01", rules.months)
        )
    fen, uscc, account = max(found, key=lambda each: each[0], default=(0, "", {}))
    return (uscc, account) if fen else None


async def _ask_balances(stage: _Stage) -> list[dict[str, Any]]:
    """Ask the service for the balance of each coupon."""
    return [
        await stage.http.ask(
            f"/v1/enterprises/{body['enterprise']}/balance",
            programme=body["programme"],
            year=body["year"],
        )
        for body in stage.cast.coupons
    ]


def _verify_export(story: Story, exported: Path, verifier: Verifier) -> FolderBooks:
    """Verify as `kashi verify` does, then read what the entries say."""
    report = _verify(story, exported, verifier)
    table = plain_table("checked and found right", "", right=("",))
    for check in report.checks:
        table.add_row(check.name, f"{check.count:,}")
    story.show(table)
    _must(report.ok, f"the exported ledger does not verify: {_describe(report)}")
    story.good(f"{report.size:,} entries, root {report.root.hex()}")
    return FolderBooks.read(exported, report.size)


def _verify(story: Story, folder: Path, verifier: Verifier, *, passing: bool = False) -> Report:
    with story.bar("verifying", passing=passing) as advance:
        return verify(folder, verifier, Audit(), advance)


def _describe(report: Report) -> str:
    """Return the first fault as text."""
    if report.ok:
        return "nothing is wrong"
    problem = report.findings[0]
    place = "the ledger" if problem.entry is None else f"entry {problem.entry}"
    return f"{place}: {problem.code}: {problem.detail}"


def _forge(stage: _Stage, path: Path, signer: Signer) -> None:
    """Tamper with copies of the export: verification must name the very entry."""
    story, exported = stage.story, path / "export"
    story.step("Two forgeries, and the entry that verification names")
    granted = (result.entry for _, result in stage.accepted if fen_of(result.granted) > 0)
    number = next(granted, 0)
    _must(number > 0, "no record of this usage was granted anything")
    flipped = path / "flipped"
    shutil.copytree(exported, flipped)
    flip_bit(flipped, number)
    story.say(f"A copy in which one bit of entry {number} is another:")
    _must_be_found(story, flipped, signer.verifier, number)
    forged = path / "forged"
    grant_a_fen_more(exported, forged, number, signer)
    story.say(
        f"A copy that grants a fen more in entry {number}, with all hashes made anew and signed"
        " with the log's own key, as its operator could:"
    )
    _must_be_found(story, forged, signer.verifier, number)


def _must_be_found(story: Story, folder: Path, verifier: Verifier, number: int) -> None:
    report = _verify(story, folder, verifier, passing=True)
    _must(bool(report.findings), f"verification found nothing wrong in {folder.name}")
    _must(
        report.findings[0].entry == number, f"not entry {number} is blamed, but {_describe(report)}"
    )
    story.say(f"VIOLATED: {_describe(report)}", style="bold")


def _show_balances(stage: _Stage, balances: Sequence[Mapping[str, Any]]) -> None:
    """Show each coupon, and below one that is short how its contracts share it."""
    columns = ("issued", "entitled", "granted", "uncovered", "remaining")
    table = plain_table("enterprise", *columns, right=columns)
    for uscc, coupons in groupby(balances, key=lambda balance: str(balance["enterprise"])):
        table.add_row(stage.cast.name_of(uscc), style="bold")
        for balance in coupons:
            figures = (money_text(balance[name]) for name in columns)
            table.add_row(f" {balance['year']} {stage.classes[uscc]}", *figures)
            for share in balance["contracts"] if fen_of(balance["uncovered"]) else ():
                figures = (money_text(share[name]) if name in share else "" for name in columns)
                table.add_row(f"  {share['contract']}", *figures, style="yellow")
    stage.story.show(table)


def _check_balances(
    story: Story, balances: Sequence[Mapping[str, Any]], books: FolderBooks
) -> None:
    """Compare the service's balances with the sums of the verified entries."""
    for balance in balances:
        coupon = f"coupon {balance['year']} of {balance['enterprise']}"
        answered = {name: fen_of(balance[name]) for name in ("issued", "entitled", "granted")}
        added = books.coupon(balance)
        _must(answered == added, f"{coupon}: answered {answered}, entries add up to {added}")
        least = min(answered["issued"], answered["entitled"])
        _must(answered["granted"] == least, f"{coupon} granted another amount than {least} fen")
    _must(sum(books.accounts.values()) == 0, "the accounts of the ledger do not add up to zero")
    granted = sum(fen_of(balance["granted"]) for balance in balances)
    story.good(f"the verified entries add up to these balances; {money(granted)} are granted")
    story.good("each coupon granted the lesser of issued and entitled, to the fen")


def _check_device_time(story: Story, scenario: Scenario, books: FolderBooks) -> None:
    """Compare the provider's own count with the ledger."""
    compared = scenario.compare(books.metered())
    table = plain_table("usage", *scenario.sides, right=scenario.sides)
    for each in compared:
        table.add_row(each.what, f"{each.counted:,}", f"{each.in_ledger:,}")
    story.show(table)
    wrong = [each.what for each in compared if each.counted != each.in_ledger]
    _must(not wrong, f"the two sides differ in {'; '.join(wrong)}")
    story.good("both sides agree in each figure")
    story.good("everything came out as it must")


def _must(condition: bool, otherwise: str) -> None:
    if not condition:
        raise DemoError(otherwise)
