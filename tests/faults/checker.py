"""Compare the answers to clients with the ledger, trusting neither.

After a round `check_receipts` compares each receipt with the one in the database. At the end
`check_export` reads what `kashi export` wrote, lets `kashi verify` audit it with every receipt, and
counts over plain entries by itself:

    lost      confirmed, and not in the ledger: a receipt's batch, an accepted record, a command
    doubled   in the ledger twice: a batch's number, a record's id, an idempotency key
    wrong     a receipt, a figure or a sum that is not what the ledger holds; an audit that fails

`Totals` do not depend on the order of arrival; those of a run without faults must be equal.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import asyncpg

from ledger import canon
from meter.demo.books import FolderBooks, entries_of, size_of
from meter.values.units import format_money
from tests.faults.clients import Evidence, Kept
from tests.faults.processes import environment_for, run_kashi

BatchId = tuple[str, str, int]
RecordId = tuple[str, str]


@dataclass
class Findings:
    """The faults that were found, in words."""

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def __iadd__(self, other: "Findings") -> Self:
        """Add faults that were not found before."""
        for name in ("lost", "doubled", "wrong"):
            known = getattr(self, name)
            known += [text for text in getattr(other, name) if text not in known]
        return self

    def __iter__(self) -> Iterator[str]:
        for name in ("lost", "doubled", "wrong"):
            yield from (f"{name}: {text}" for text in getattr(self, name))


@dataclass(frozen=True)
class Totals:
    """The sums of a load, whatever the order in which it came."""

    accounts: Mapping[str, int]
    records: Mapping[RecordId, tuple[Any, ...]]

    def differences(self, other: "Totals") -> list[str]:
        """Return the differences from a run without faults."""
        return [
            f"{name} is {ours.get(name)}, without faults {theirs.get(name)}"
            for ours, theirs in ((self.accounts, other.accounts), (self.records, other.records))
            for name in sorted(ours.keys() | theirs.keys())
            if ours.get(name) != theirs.get(name)
        ]


# In the database, after each round


async def check_receipts(dsn: str, receipts: Iterable[Kept]) -> Findings:
    """Check that each receipt is stored as it was sent."""
    connection = await asyncpg.connect(dsn)
    try:
        rows = await connection.fetch(
            "SELECT provider, stream, seq, receipt, signature FROM meter.batch"
        )
    finally:
        await connection.close()
    stored = {tuple(row)[:3]: tuple(row)[3:] for row in rows}
    found = Findings()
    for kept in receipts:
        _compare_receipt(kept, stored.get(kept.post.id), found)
    return found


def _compare_receipt(kept: Kept, stored: tuple[bytes, str] | None, found: Findings) -> None:
    if stored is None:
        found.lost.append(f"batch {kept.post.id}")
    elif stored != (kept.body, kept.signature):
        found.wrong.append(f"the receipt of batch {kept.post.id} is stored as another")


# In an export, at the end


@dataclass
class Export:
    """An exported ledger, read entry by entry; numbers of entries by their subject."""

    folder: Path
    entries: list[dict[str, Any]] = field(default_factory=list)
    batches: dict[BatchId, list[int]] = field(default_factory=lambda: defaultdict(list))
    records: dict[RecordId, list[int]] = field(default_factory=lambda: defaultdict(list))
    requests: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    files: dict[int, list[bytes]] = field(default_factory=dict)
    books: FolderBooks = field(default_factory=FolderBooks)

    @classmethod
    def read(cls, folder: Path) -> "Export":
        export = cls(folder)
        for number, data, files in entries_of(folder, size_of(folder)):
            export.add(number, canon.decode(data), files)
        return export

    def add(self, number: int, entry: dict[str, Any], files: list[bytes]) -> None:
        self.entries.append(entry)
        self.books.add(number, entry)
        if files:
            self.files[number] = files
        if entry["kind"] == "batch":
            self.batches[entry["provider"], entry["stream"], entry["seq"]].append(number)
        elif entry["kind"] == "usage":
            self.records[entry["provider"], entry["id"]].append(number)
        if "request" in entry:
            self.requests[entry["request"]].append(number)

    def stored(self, batch: BatchId) -> tuple[bytes, str] | None:
        """Return receipt and signature beside a batch."""
        numbers = self.batches.get(batch)
        if not numbers:
            return None
        _, receipt, signature = self.files[numbers[0]]
        return receipt, signature.decode()

    def totals(self) -> Totals:
        """Return the sums, one for all contracts of a coupon: their shares depend on the order."""
        accounts: Counter[str] = Counter()
        owners = {e["id"]: e["enterprise"] for e in self.entries if e["kind"] == "contract"}
        for name, fen in self.books.accounts.items():
            kind, *rest = name.split(":")
            granted = kind == "accrued"
            accounts[f"granted to {owners[rest[0]]} in {rest[1]}" if granted else name] += fen
        records = {
            id_: self._judged(self.entries[number], number)
            for id_, numbers in self.records.items()
            for number in numbers
        }
        return Totals({name: fen for name, fen in accounts.items() if fen}, records)

    def _judged(self, entry: Mapping[str, Any], number: int) -> tuple[Any, ...]:
        plain = [entry[name] for name in ("contract", "cost", "fits", "entitled")]
        return *plain, entry.get("withheld"), entry.get("ineligible"), number in self.books.voided


async def check_export(
    folder: Path, vkey: Path, evidence: Evidence, device_time: Mapping[str, int]
) -> tuple[Findings, Totals]:
    """Audit an exported ledger and compare the evidence with it."""
    found = await _audited(folder, vkey, evidence)
    export = Export.read(folder)
    found += judge(export, evidence)
    found += Findings(wrong=list(_sums_amiss(export, device_time)))
    return found, export.totals()


async def _audited(folder: Path, vkey: Path, evidence: Evidence) -> Findings:
    """Let `kashi verify` audit the folder with every receipt."""
    hand = folder.with_name(f"{folder.name}-receipts")
    hand.mkdir()
    words = []
    for number, kept in enumerate(evidence.receipts.values()):
        (hand / str(number)).write_bytes(kept.body)
        (hand / f"{number}.sig").write_text(kept.signature)
        words.append(f"--receipt={number}")
    _, output = await run_kashi(
        *("verify", folder, "--vkey", vkey, "--json", *words),
        environment=environment_for(None),
        folder=hand,
    )
    try:
        findings = json.loads(output)["findings"]
    except ValueError:
        return Findings(wrong=[f"the audit did not end: {output[-500:]}"])
    return Findings(wrong=[f"the audit: {problem}" for problem in findings])


def judge(export: Export, evidence: Evidence) -> Findings:
    """Compare receipts and answers with the entries, and count duplicates."""
    found = Findings(wrong=list(evidence.complaints))
    for kept in evidence.receipts.values():
        _compare_receipt(kept, export.stored(kept.post.id), found)
        _compare_results(kept, export, found)
    for command, answer in evidence.answers.values():
        if answer["entry"] not in export.requests.get(command.key, ()):
            found.lost.append(f"command {command.key}, entry {answer['entry']}")
    for kind in (export.batches, export.records, export.requests):
        found.doubled += [
            f"{name}, entries {numbers}" for name, numbers in kind.items() if len(numbers) > 1
        ]
    return found


def _compare_results(kept: Kept, export: Export, found: Findings) -> None:
    """Compare each figure of a receipt with the entry that it names."""
    receipt = json.loads(kept.body)
    for result in receipt["voids"] + receipt["results"]:
        if result["status"] != "accepted":
            continue
        number = result["entry"]
        entry = export.entries[number] if number < len(export.entries) else {}
        if (entry.get("provider"), entry.get("id")) != (receipt["provider"], result["id"]):
            found.lost.append(f"record {result['id']} of {receipt['provider']}, entry {number}")
        elif _figures(entry) != {name: result[name] for name in ("cost", "entitled", "granted")}:
            found.wrong.append(f"entry {number} does not say what the receipt said: {result}")


def _figures(entry: Mapping[str, Any]) -> dict[str, str]:
    """Read cost, entitled and granted of the entry's own contract from its postings."""
    own = f"accrued:{entry['contract']}:"
    granted = cost = 0
    for debtor, creditor, fen in entry["postings"]:
        granted += fen * (creditor.startswith(own) - debtor.startswith(own))
        due = f"due:{entry['contract']}"
        cost += fen * ((creditor == due) - (debtor == due))
    entitled = sum(fen for _, fen in entry["entitled"])
    figures = {"cost": cost, "entitled": entitled, "granted": granted}
    return {name: format_money(fen) for name, fen in figures.items()}


def _sums_amiss(export: Export, device_time: Mapping[str, int]) -> Iterator[str]:
    """Compare device-time with the providers' own count, and grants with the sum of rule R."""
    metered = export.books.metered().net_by_contract
    for contract, counted in device_time.items():
        if metered.get(contract, 0) != counted:
            yield f"{contract}: metered {metered.get(contract, 0)}, the provider counts {counted}"
    issued, entitled, granted = _coupons(export)
    for coupon in issued.keys() | entitled.keys():
        if granted[coupon] != min(issued[coupon], entitled[coupon]):
            sums = granted[coupon], issued[coupon], entitled[coupon]
            yield "coupon {}: granted {}, issued {}, entitled {}".format(coupon, *sums)


def _coupons(export: Export) -> tuple[Counter[Any], Counter[Any], Counter[Any]]:
    """Sum issued, entitled and granted fen by enterprise and year."""
    owners = {e["id"]: e["enterprise"] for e in export.entries if e["kind"] == "contract"}
    issued: Counter[Any] = Counter()
    entitled: Counter[Any] = Counter()
    granted: Counter[Any] = Counter()
    for entry in export.entries:
        if entry["kind"] in ("issue", "allotment", "withdrawal"):
            sign = -1 if entry["kind"] == "withdrawal" else 1
            issued[entry["enterprise"], str(entry["year"])] += sign * entry["amount"]
        for year, fen in entry.get("entitled", ()):
            entitled[owners[entry["contract"]], str(year)] += fen
    for name, fen in export.books.accounts.items():
        kind, *rest = name.split(":")
        if kind == "accrued":
            granted[owners[rest[0]], rest[1]] += fen
    return issued, entitled, granted
