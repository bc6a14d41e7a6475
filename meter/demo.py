"""`kashi demo`: the whole story once, on real parts, told step by step.

    a new ledger -> rules, contracts, coupons -> signed usage over HTTP -> a coupon runs out
      -> a void gives money back -> export -> verification -> two forgeries -> balances

The service runs in this process on a PostgreSQL of its own, and everybody speaks to it over HTTP.
Usage comes from a scenario (`meter.scenario`). Each step is checked: what the service answered
against what the verified folder holds, and both against what the provider counted for itself. The
first step that does not come out as it must ends the demonstration with exit code 1.
"""

import asyncio
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import count, groupby
from pathlib import Path
from typing import Any, Final, Literal

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from ledger import canon
from ledger.errors import LedgerError
from ledger.folder import FolderReader, FolderWriter
from ledger.note import Checkpoint, Signer, Verifier, sign
from ledger.report import Report
from ledger.tiles import Tile, level_tiles
from ledger.tlog import Frontier, leaf_hash
from ledger.verify import verify
from meter import service
from meter.audit import Audit
from meter.cast import CAP, KEYID, PROVIDER, Cast
from meter.client import (
    ClientError,
    Refused,
    Service,
    Stream,
    VerifiedReceipt,
    public_text,
)
from meter.config import DATABASE_VARIABLE, DataFolder, database_url
from meter.export import export
from meter.policy import Policy
from meter.postgres import PostgresError
from meter.problems import Problem
from meter.scenario import SEED, ClusterScenario, Metered, Scenario, TraceScenario
from meter.service import SetupError
from meter.simulate import simulated_key
from meter.trace import TraceError
from meter.units import FEN_PER_YUAN, MICROSECONDS, format_instant, parse_money
from meter.wire import Accepted, Batch, Receipt, Record, Result

ORIGIN: Final = "kashi.example/shenzhen"
WIDTH: Final = 100  # columns that the widest table needs
REDRAW_STEPS: Final = 512  # drawing a bar costs more than an entry

Advance = Callable[[int, int], None]


class DemoError(Exception):
    """A step did not come out as it must."""


_FAULTS: Final = (
    *(DemoError, ClientError, LedgerError, PostgresError, Problem, SetupError, TraceError),
    OSError,
)


def run(trace: Path | None, folder: Path, console: Console, *, kept: bool = False) -> int:
    """Tell the story in an empty folder and give the exit code.

    With `trace`, usage comes from that file. `kept` says that the folder will stay.
    """
    return asyncio.run(demo(trace, folder, console, kept=kept))


async def demo(trace: Path | None, folder: Path, console: Console, *, kept: bool = False) -> int:
    """Tell the story; see `run`."""
    story = _Story(console)
    try:
        await _tell(_scenario(trace), folder, story)
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


async def _tell(scenario: Scenario, path: Path, story: "_Story") -> None:
    if database_url() is not None:
        raise DemoError(f"{DATABASE_VARIABLE} is set; the demonstration keeps out of your database")
    folder, clock, exported = DataFolder(path), _Clock(scenario.begins), path / "export"
    story.title(
        "Kashi (卡时): compute vouchers metered exactly, on a ledger that anyone can verify"
    )
    story.say(
        "A real service on a PostgreSQL of its own, spoken to over HTTP; the firms are made up."
    )
    service.check_test_clock(ORIGIN)
    await service.initialise(folder, ORIGIN, clock)
    token = folder.authority_token.read_text(encoding="utf-8").strip()
    signer = Signer.parse(folder.log_key.read_text(encoding="utf-8").strip())
    async with (
        service.running(folder, clock=clock) as running,
        Service(running.url, token) as http,
    ):
        story.step("A new ledger")
        story.say(f"{ORIGIN} answers at {running.url}, where it is {clock}.")
        stage = await _set_stage(story, scenario.cast, clock, http)
        await _register(stage, scenario)
        await _post_usage(stage, scenario)
        _show_shortfall(stage, scenario)
        await _void_one(stage, scenario)
        balances = await _ask_balances(stage)
        story.step("The ledger is exported, the service stops, and an auditor verifies the folder")
        with story.bar("exporting entries") as advance:
            await export(running.dsn, signer, exported, advance)
    read = _verify_export(story, exported, signer.verifier)
    _forge(stage, path, signer)
    story.step("Balances")
    _show_balances(stage, balances)
    _check_balances(story, balances, read)
    _check_device_time(story, scenario, read)


# The stage


class _Clock:
    """The ledger's clock: it runs by itself, and the story moves it forward."""

    def __init__(self, start: int) -> None:
        self.move_to(start)

    def move_to(self, seconds: int) -> None:
        self._clock = service.clock_from(seconds)

    def __call__(self) -> int:
        return self._clock()

    def __str__(self) -> str:
        return format_instant(self() // MICROSECONDS)


@dataclass(slots=True)
class _Stage:
    """What the steps share while the service runs, and what they learn."""

    story: "_Story"
    cast: Cast
    clock: _Clock
    http: Service
    receipt_key: str
    stream: Stream
    requests: Iterator[int] = field(default_factory=lambda: count(1))
    classes: dict[str, str] = field(default_factory=dict)  # by enterprise
    accepted: list[tuple[Record, Accepted]] = field(default_factory=list)

    async def command(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Post as the authority, each time under a fresh idempotency key."""
        return await self.http.command(path, body, f"demo-{next(self.requests)}")

    async def post(self, batch: Batch) -> VerifiedReceipt:
        """Post as the provider."""
        return await self.http.post_batch(self.stream.sign(batch), self.receipt_key)


async def _set_stage(story: "_Story", cast: Cast, clock: _Clock, http: Service) -> _Stage:
    """Read from entry 0 what a provider is told when it joins."""
    genesis = (await http.ask("/v1/entries/0"))["entry"]
    stream = Stream(
        log=ORIGIN,
        genesis=sha256(canon.encode(genesis)).hexdigest(),
        provider=PROVIDER,
        name=cast.stream,
        keyid=KEYID,
        key=simulated_key(SEED),
    )
    return _Stage(story, cast, clock, http, genesis["receipt_key"]["public_key"], stream)


# The steps


async def _register(stage: _Stage, scenario: Scenario) -> None:
    stage.story.step("The authority sets the rules and registers who takes part")
    table = _plain_table("entry", "", right=("entry",))

    async def add(path: str, body: Mapping[str, Any], told: str) -> dict[str, Any]:
        answer = await stage.command(path, body)
        kind = f", {answer['class']}" if "class" in answer else ""
        table.add_row(str(answer["entry"]), told + kind)
        return answer

    cast, key = stage.cast, public_text(stage.stream.key)
    await add("/v1/policies", scenario.policy, _policy_told(scenario.rules))
    devices = ", ".join(f"{number:,} {kind}" for kind, number in cast.provider["devices"].items())
    await add("/v1/providers", cast.provider, f"provider {PROVIDER}: {devices}")
    signing = {"keyid": KEYID, "algorithm": "ed25519", "public_key": key}
    await add(f"/v1/providers/{PROVIDER}/keys", signing, f"its signing key {KEYID}")
    for body in cast.enterprises:
        told = f"{body['kind']} {body['name']}, founded {body['founded_on']}"
        await add("/v1/enterprises", body, told)
    for body in cast.contracts:
        uscc = str(body["enterprise"])
        told = f"contract {body['id']} of {cast.name_of(uscc)} over {_money_text(body['amount'])}"
        stage.classes[uscc] = (await add("/v1/contracts", body, told))["class"]
    for body in cast.coupons:
        amount, name = _money_text(body["amount"]), cast.name_of(body["enterprise"])
        await add("/v1/coupons", body, f"coupon {body['year']} for {name}: {amount}")
    stage.story.show(table)
    await _try_beyond_cap(stage)


def _policy_told(rules: Policy) -> str:
    standard, startup = (rules.ratio_bp[name] // 100 for name in ("standard", "startup"))
    return (
        f"policy {rules.programme} {rules.version}: {standard} %, startups {startup} %,"
        f" {_money(rules.cap)} a year at most"
    )


async def _try_beyond_cap(stage: _Stage) -> None:
    coupon = next(body for body in stage.cast.coupons if body["amount"] == CAP)
    try:
        await stage.command("/v1/coupons", {**coupon, "amount": "0.01"})
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
    table = _plain_table("", "")
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


def _show_shortfall(stage: _Stage, scenario: Scenario) -> None:
    """Show the first record that a coupon covers in part, or not at all."""
    story = stage.story
    story.step("A coupon runs out in the middle of a record")
    short = [(record, result) for record, result in stage.accepted if _fen(result.uncovered) > 0]
    partly = [(record, result) for record, result in short if _fen(result.granted) > 0]
    if scenario.coupon_runs_out:
        _must(bool(partly), "no record was covered in part")
    if not short:
        story.say("Not here: the coupons cover all of this usage.")
        return
    record, result = (partly or short)[0]
    body = next(body for body in stage.cast.contracts if body["id"] == record.contract)
    name = stage.cast.name_of(body["enterprise"])
    story.say(f"{record.id} of {record.contract} ({name}). From its signed receipt, in yuan:")
    story.show(_result_table(result))
    _must("coupon" in result.bound, "the receipt does not name the coupon as what binds")
    _must(
        _fen(result.entitled) == _fen(result.granted) + _fen(result.uncovered),
        "granted and uncovered are not what it is entitled to",
    )
    later = len(short) - 1
    story.say(f"What it cannot cover is recorded, never dropped; so with {later:,} later records.")


async def _void_one(stage: _Stage, scenario: Scenario) -> None:
    """Take back a record that will give money back."""
    story = stage.story
    story.step("A void gives money back")
    record = _record_to_void(stage, scenario, await _ask_balances(stage))
    if record is None:
        _must(not scenario.coupon_runs_out, "no record would give money back")
        story.say("Not here: no record's void would.")
        return
    batch = scenario.take_back(record)
    result = _accepted((await stage.post(batch)).receipt.voids[0])
    story.say(
        f"The provider takes {record.id} of {record.contract} back: {batch.voids[0].reason}."
        " Its receipt shows its own contract alone:"
    )
    story.show(_result_table(result))
    _must(_fen(result.granted) < 0, "the void gave nothing back")
    entry = (await stage.http.ask(f"/v1/entries/{result.entry}"))["entry"]
    back, on = _show_who_gets_it(story, result.entry, entry["postings"])
    _must(back == -_fen(result.granted), "receipt and entry differ in what comes back")
    _must(on > 0 or not scenario.coupon_runs_out, "nobody who was short got the money")


def _show_who_gets_it(
    story: "_Story", number: int, postings: Sequence[tuple[str, str, int]]
) -> tuple[int, int]:
    """Show a void's postings; give what comes back to the coupon and what goes on from it."""
    story.say(f"Entry {number} shows who gets it:")
    table = _plain_table("from → to", "yuan", right=("yuan",))
    for debtor, creditor, fen in postings:
        table.add_row(f"{debtor} → {creditor}", _money(fen))
    story.show(table)
    back = sum(fen for debtor, _, fen in postings if debtor.startswith("accrued:"))
    on = sum(fen for debtor, _, fen in postings if debtor.startswith("coupon:"))
    told = [f"{_money(on)} go on to the contract that was short"] * (on > 0)
    told += [f"{_money(back - on)} are free in the coupon again"] * (back > on)
    story.good(f"of {_money(back)} that come back, {' and '.join(told)}")
    return back, on


def _record_to_void(
    stage: _Stage, scenario: Scenario, balances: Sequence[Mapping[str, Any]]
) -> Record | None:
    """Choose the record whose void gives most back, best to a contract that is short."""
    # By contract and year: what it lacks itself, and what others under the same coupon lack.
    lacking: dict[tuple[str, str], tuple[int, int]] = {}
    for balance in balances:
        for share in balance["contracts"]:
            own = _fen(share["uncovered"])
            others = _fen(balance["uncovered"]) - own
            lacking[share["contract"], str(balance["year"])] = own, others
    capped = {record.contract for record, result in stage.accepted if {*result.bound} - {"coupon"}}
    found: list[tuple[bool, int, Record | None]] = []
    for record, result in stage.accepted:
        if len(result.by_year) == 1 and record.contract not in capped and scenario.may_void(record):
            own, others = lacking[record.contract, next(iter(result.by_year))]
            # What the contract lacks goes first; only the rest is money that moves.
            back = _fen(result.entitled) - own
            if back > 0:
                found.append((others > 0, back, record))
    return max(found, key=lambda each: each[:2], default=(False, 0, None))[2]


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


def _verify_export(story: "_Story", exported: Path, verifier: Verifier) -> "_Books":
    """Verify as `kashi verify` does, then read what the entries say."""
    report = _verify(story, exported, verifier)
    table = _plain_table("checked and found right", "", right=("",))
    for check in report.checks:
        table.add_row(check.name, f"{check.count:,}")
    story.show(table)
    _must(report.ok, f"the exported ledger does not verify: {_told(report)}")
    story.good(f"{report.size:,} entries, root {report.root.hex()}")
    return _Books.read(exported, report.size)


def _verify(story: "_Story", folder: Path, verifier: Verifier, *, passing: bool = False) -> Report:
    with story.bar("verifying", passing=passing) as advance:
        return verify(folder, verifier, Audit(), advance)


def _told(report: Report) -> str:
    """Tell the first thing that is wrong."""
    if report.ok:
        return "nothing is wrong"
    problem = report.problems[0]
    place = "the ledger" if problem.entry is None else f"entry {problem.entry}"
    return f"{place}: {problem.code}: {problem.detail}"


def _forge(stage: _Stage, path: Path, signer: Signer) -> None:
    """Tamper with copies of the export: verification must name the very entry."""
    story, exported = stage.story, path / "export"
    story.step("Two forgeries, and the entry that verification names")
    granted = (result.entry for _, result in stage.accepted if _fen(result.granted) > 0)
    number = next(granted, 0)
    _must(number > 0, "no record of this usage was granted anything")
    flipped = path / "flipped"
    shutil.copytree(exported, flipped)
    _flip_bit(flipped, number)
    story.say(f"A copy in which one bit of entry {number} is another:")
    _must_be_found(story, flipped, signer.verifier, number)
    forged = path / "forged"
    _grant_a_fen_more(exported, forged, number, signer)
    story.say(
        f"A copy that grants a fen more in entry {number}, with all hashes made anew and signed"
        " with the log's own key, as its operator could:"
    )
    _must_be_found(story, forged, signer.verifier, number)


def _must_be_found(story: "_Story", folder: Path, verifier: Verifier, number: int) -> None:
    report = _verify(story, folder, verifier, passing=True)
    _must(bool(report.problems), f"verification found nothing wrong in {folder.name}")
    _must(report.problems[0].entry == number, f"not entry {number} is blamed, but {_told(report)}")
    story.say(f"VIOLATED: {_told(report)}", style="bold")


def _flip_bit(folder: Path, number: int) -> None:
    """Flip a bit in the first digit of an entry's cost."""
    tile, index = _tile_of(folder, number)
    entries = FolderReader(folder).entries(tile)
    file = folder / tile.path
    data = bytearray(file.read_bytes())
    length_bytes = 2  # in front of each entry
    start = sum(length_bytes + len(entry) for entry in entries[:index]) + length_bytes
    data[start + entries[index].index(b'"cost":') + len(b'"cost":')] ^= 1
    file.write_bytes(data)


def _tile_of(folder: Path, number: int) -> tuple[Tile, int]:
    """Give the bundle that holds an entry, and the entry's place in it."""
    tiles = level_tiles("entries", _size_of(folder))
    tile = next(tile for tile in tiles if number < tile.first + tile.width)
    return tile, number - tile.first


def _grant_a_fen_more(folder: Path, out: Path, number: int, signer: Signer) -> None:
    """Write the log anew with one entry changed, rightly hashed and signed."""
    writer, frontier = FolderWriter(out), Frontier()
    for at, data, files in _entries(folder, _size_of(folder)):
        changed = _with_a_fen_more(data) if at == number else data
        writer.add(changed, files)
        frontier.append(leaf_hash(changed))
    checkpoint = Checkpoint(signer.name, frontier.size, frontier.root())
    writer.finish(sign(checkpoint.format(), signer))


def _with_a_fen_more(data: bytes) -> bytes:
    entry = canon.decode(data)
    grant = next(posting for posting in entry["postings"] if posting[1].startswith("accrued:"))
    grant[2] += 1
    return canon.encode(entry)


def _show_balances(stage: _Stage, balances: Sequence[Mapping[str, Any]]) -> None:
    """Show each coupon, and below one that is short how its contracts share it."""
    money = ("issued", "entitled", "granted", "uncovered", "remaining")
    table = _plain_table("enterprise", *money, right=money)
    for uscc, coupons in groupby(balances, key=lambda balance: str(balance["enterprise"])):
        table.add_row(stage.cast.name_of(uscc), style="bold")
        for balance in coupons:
            figures = (_money_text(balance[name]) for name in money)
            table.add_row(f" {balance['year']} {stage.classes[uscc]}", *figures)
            for share in balance["contracts"] if _fen(balance["uncovered"]) else ():
                figures = (_money_text(share[name]) if name in share else "" for name in money)
                table.add_row(f"  {share['contract']}", *figures, style="yellow")
    stage.story.show(table)


def _check_balances(
    story: "_Story", balances: Sequence[Mapping[str, Any]], books: "_Books"
) -> None:
    """Hold what the service answered against what the verified entries add up to."""
    for balance in balances:
        coupon = f"coupon {balance['year']} of {balance['enterprise']}"
        answered = {name: _fen(balance[name]) for name in ("issued", "entitled", "granted")}
        added = books.coupon(balance)
        _must(answered == added, f"{coupon}: answered {answered}, entries add up to {added}")
        least = min(answered["issued"], answered["entitled"])
        _must(answered["granted"] == least, f"{coupon} granted another amount than {least} fen")
    _must(sum(books.accounts.values()) == 0, "the accounts of the ledger do not add up to zero")
    granted = sum(_fen(balance["granted"]) for balance in balances)
    story.good(f"the verified entries add up to these balances; {_money(granted)} are granted")
    story.good("each coupon granted the lesser of issued and entitled, to the fen")


def _check_device_time(story: "_Story", scenario: Scenario, books: "_Books") -> None:
    """Hold the provider's own count against the ledger."""
    compared = scenario.compare(books.metered())
    table = _plain_table("usage", *scenario.sides, right=scenario.sides)
    for each in compared:
        table.add_row(each.what, f"{each.counted:,}", f"{each.in_ledger:,}")
    story.show(table)
    wrong = [each.what for each in compared if each.counted != each.in_ledger]
    _must(not wrong, f"the two sides differ in {'; '.join(wrong)}")
    story.good("both sides agree in each figure")
    story.good("everything came out as it must")


# What the folder says, read without the service and without its rules


@dataclass(slots=True)
class _Books:
    """Sums over the entries of a verified folder: accounts in fen, usage by entry number."""

    accounts: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    entitled: dict[tuple[str, int], int] = field(default_factory=lambda: defaultdict(int))
    usage: dict[int, tuple[str, int]] = field(default_factory=dict)
    voided: set[int] = field(default_factory=set)
    runs: set[str] = field(default_factory=set)

    @classmethod
    def read(cls, folder: Path, size: int) -> "_Books":
        books = cls()
        for number, data, _ in _entries(folder, size):
            books.add(number, canon.decode(data))
        return books

    def add(self, number: int, entry: Mapping[str, Any]) -> None:
        """Take the next entry."""
        for debtor, creditor, fen in entry["postings"]:
            self.accounts[debtor] -= fen
            self.accounts[creditor] += fen
        for year, fen in entry.get("entitled", ()):
            self.entitled[entry["contract"], year] += fen
        if entry["kind"] == "usage":
            seconds = (entry["end"] - entry["start"]) // MICROSECONDS
            self.usage[number] = entry["contract"], entry["milli_devices"] * seconds
            self.runs.add(entry["run"])
        elif entry["kind"] == "void":
            self.voided.add(entry["record"])

    def coupon(self, balance: Mapping[str, Any]) -> dict[str, int]:
        """Give issued, entitled and granted fen of the coupon that a balance is about."""
        year, contracts = balance["year"], [each["contract"] for each in balance["contracts"]]
        granted = sum(self.accounts[f"accrued:{contract}:{year}"] for contract in contracts)
        coupon = f"coupon:{balance['programme']}:{year}:{balance['enterprise']}"
        return {
            "issued": self.accounts[coupon] + granted,
            "entitled": sum(self.entitled[contract, year] for contract in contracts),
            "granted": granted,
        }

    def metered(self) -> Metered:
        """Give the usage as a provider would count it."""
        net: dict[str, int] = defaultdict(int)
        for number, (contract, device_time) in self.usage.items():
            net[contract] += 0 if number in self.voided else device_time
        return Metered(
            device_time=sum(device_time for _, device_time in self.usage.values()),
            net_by_contract=net,
            records=len(self.usage),
            runs=len(self.runs),
        )


def _entries(folder: Path, size: int) -> Iterator[tuple[int, bytes, list[bytes]]]:
    """Give each entry of a folder with its number and the files beside it."""
    reader = FolderReader(folder)
    files = reader.files()
    for tile in level_tiles("entries", size):
        batches = tile.beside("batches")
        beside = reader.attachments(batches) if batches.path in files else {}
        for index, data in enumerate(reader.iter_entries(tile)):
            yield tile.first + index, data, beside.get(index, [])


def _size_of(folder: Path) -> int:
    """Read the size off a folder's checkpoint, for us to tamper with: no signature is checked."""
    text = FolderReader(folder).checkpoint().decode()
    return Checkpoint.parse(text.partition("\n\n")[0] + "\n").size


# How it is told


class _Story:
    """Prints the steps."""

    def __init__(self, console: Console) -> None:
        if not console.is_terminal:  # in a file, nobody can make the window wider
            console.width = max(console.width, WIDTH)
        self.console = console
        self._steps = count(1)

    def title(self, text: str) -> None:
        self.console.print(Text(text, style="bold"))

    def step(self, text: str) -> None:
        self.console.print()
        self.console.print(Text(f"{next(self._steps)}  {text}", style="bold cyan"))

    def say(self, text: str, style: str = "") -> None:
        self.show(Text(text, style=style))

    def good(self, text: str) -> None:
        self.show(Text.assemble(("✓ ", "bold green"), text))

    def bad(self, text: str) -> None:
        self.console.print()
        self.console.print(Text(f"✗ {text}", style="bold red"))

    def show(self, what: Text | Table) -> None:
        self.console.print(Padding(what, (0, 0, 0, 3), expand=False))

    @contextmanager
    def bar(self, title: str, *, passing: bool = False) -> Iterator[Advance]:
        """Show a bar with a count; give the function that moves it. A passing one disappears."""
        columns = (
            TextColumn("   {task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        hidden = passing and not self.console.is_terminal
        with Progress(
            *columns, console=self.console, transient=passing, disable=hidden
        ) as progress:
            task = progress.add_task(title, total=None)

            def advance(done: int, total: int) -> None:
                if done % REDRAW_STEPS == 0 or done == total or total < REDRAW_STEPS:
                    progress.update(task, completed=done, total=total)

            yield advance


def _plain_table(*headings: str, right: Sequence[str] = ()) -> Table:
    table = Table(
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, 1, 0, 0),
        header_style="dim",
    )
    for heading in headings:
        justify: Literal["left", "right"] = "right" if heading in right else "left"
        table.add_column(heading, justify=justify, overflow="fold")
    return table


def _result_table(result: Accepted) -> Table:
    """Show the figures of a receipt's result."""
    money = ("cost", "entitled", "granted", "uncovered")
    table = _plain_table("record", *money, "bound", right=money)
    figures = (_money_text(getattr(result, name)) for name in money)
    table.add_row(result.id, *figures, " ".join(result.bound))
    return table


def _must(condition: bool, otherwise: str) -> None:
    if not condition:
        raise DemoError(otherwise)


def _fen(text: str) -> int:
    """Read yuan text with a sign, as receipts and balances have it."""
    return -parse_money(text[1:]) if text.startswith("-") else parse_money(text)


def _money(fen: int) -> str:
    """Write yuan with commas, for people."""
    sign_, (yuan, rest) = "-" * (fen < 0), divmod(abs(fen), FEN_PER_YUAN)
    return f"{sign_}{yuan:,}.{rest:02d}"


def _money_text(text: str) -> str:
    return _money(_fen(text))
