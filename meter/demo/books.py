"""What a verified folder's entries say, read without the service and without its rules."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ledger import canon
from ledger.folder import FolderReader
from ledger.note import Checkpoint
from ledger.tiles import level_tiles
from meter.demo.scenario import Metered
from meter.values.units import MICROSECONDS


@dataclass(slots=True)
class FolderBooks:
    """Sums over the entries of a verified folder: accounts in fen, usage by entry number."""

    accounts: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    entitled: dict[tuple[str, int], int] = field(default_factory=lambda: defaultdict(int))
    usage: dict[int, tuple[str, int]] = field(default_factory=dict)
    voided: set[int] = field(default_factory=set)
    runs: set[str] = field(default_factory=set)

    @classmethod
    def read(cls, folder: Path, size: int) -> "FolderBooks":
        books = cls()
        for number, data, _ in entries_of(folder, size):
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
        """Return the issued, entitled and granted fen of a balance's coupon."""
        year, contracts = balance["year"], [each["contract"] for each in balance["contracts"]]
        granted = sum(self.accounts[f"accrued:{contract}:{year}"] for contract in contracts)
        coupon = f"coupon:{balance['programme']}:{year}:{balance['enterprise']}"
        return {
            "issued": self.accounts[coupon] + granted,
            "entitled": sum(self.entitled[contract, year] for contract in contracts),
            "granted": granted,
        }

    def metered(self) -> Metered:
        """Return the usage as a provider would count it."""
        net: dict[str, int] = defaultdict(int)
        for number, (contract, device_time) in self.usage.items():
            net[contract] += 0 if number in self.voided else device_time
        return Metered(
            device_time=sum(device_time for _, device_time in self.usage.values()),
            net_by_contract=net,
            records=len(self.usage),
            runs=len(self.runs),
        )


def entries_of(folder: Path, size: int) -> Iterator[tuple[int, bytes, list[bytes]]]:
    """Yield each entry of a folder with its number and the files beside it."""
    reader = FolderReader(folder)
    files = reader.files()
    for tile in level_tiles("entries", size):
        batches = tile.beside("batches")
        beside = reader.attachments(batches) if batches.path in files else {}
        for index, data in enumerate(reader.iter_entries(tile)):
            yield tile.first + index, data, beside.get(index, [])


def size_of(folder: Path) -> int:
    """Read the size off a folder's checkpoint, for us to tamper with: no signature is checked."""
    text = FolderReader(folder).checkpoint().decode()
    return Checkpoint.parse(text.partition("\n\n")[0] + "\n").size
