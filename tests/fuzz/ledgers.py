"""The ledgers from which targets start: small, real, and the same in every process.

`story()` holds every kind of entry; `tall()` is the folder of a log so long that it has two levels
of tiles. A target changes a copy, never these.
"""

import copy
import re
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from ledger import bundle, canon
from ledger.note import Checkpoint, Signer, sign
from ledger.tiles import CHECKPOINT, Tile
from ledger.tlog import Tree, leaf_hash
from meter.auditor.replay import Audit
from meter.rules import commands
from meter.values.policy import shipped_text
from meter.values.units import parse_instant
from tests.books import (
    ALPHA,
    BETA,
    DEVICE,
    HOUR,
    ORIGIN,
    PROGRAMME,
    lifted,
    line,
    purchase,
    record,
    summary,
    uscc_of,
    void,
)
from tests.ledger.exported import exported
from tests.papers import take_every_step
from tests.writer import Writer

TALL = 300  # entries; 256 fill the first tile
START = parse_instant("2025-02-20T08:00:00+08:00")


@cache
def story() -> Writer:
    """Return a ledger with every kind of entry, ready for more: r2 counts, half is withheld."""
    writer = Writer("2025-01-15T12:00:00+08:00")
    writer.activate(policy())
    writer.provider()
    writer.key()
    writer.key("pcl-2")
    writer.revoke("pcl-2")
    writer.enterprise()
    writer.enterprise(BETA, founded_on="2024-06-01")
    _divide(writer)
    _end_year(writer)
    writer.contract("A", amount="1000.00", max_devices={DEVICE: 8})
    writer.contract("B", enterprise=BETA, amount="1000.00", follows="A")
    writer.fund_contract("B", "1.00")
    writer.enterprise(uscc_of(3))
    writer.succeed(uscc_of(3), BETA)
    writer.budget(2025, "1000.00")
    writer.issue(2025, "400.00")
    writer.activate(without_comments(shipped_text("adaptation", "2024-12")))
    writer.budget(2025, "50.00", programme="adaptation")
    writer.project(audited_investment="90.00")
    writer.fund("5.00")
    writer.audit("80.00")
    writer.award("W", "adaptation", "20.00", project="P", base="60.00")
    writer.change_award("W", "15.00")
    writer.post([usage("r1"), usage("r2", milli_devices=16_000), usage("r3", hour=2)])
    writer.post([usage("r4", contract="B"), usage("r5", hour=2)], [void("r1")])
    writer.release("r5")
    writer.void("r3")
    writer.freeze("B")
    writer.unfreeze("B")
    _sell(writer)
    writer.amend_enterprise(applicant="university", founded_on="2019-04-02")
    writer.amend_provider("另一名")
    writer.late_window("2025-01-01", "2025-01-08", "2025-04-01")
    writer.supplement("2025-02-01", amount="1100.00", ends="2027-02-01", prices={DEVICE: "4.40"})
    writer.correct("B", use="training", contract_no="B-1", max_devices={DEVICE: 80})
    writer.withdraw(2025, "1.00")
    for count in (1, 2):
        writer.post(summary=summary("2025-01-01", line("A", count, "1.000")))
    writer.enlist("2025-2", 1, "2025-01-01", "2026-01-01")
    _answer(writer)
    _add_people(writer)
    take_every_step(writer, "A", 2025)
    return writer


def _sell(writer: Writer) -> None:
    """Sell corpora, one by days of service, and take one back."""
    section = '[rounding]\nprorate = "days"\narticle = "1"\nstanding = "measures"\n'
    text = without_comments(shipped_text("corpus-coupon", "2024-12")).replace("= 35", "= 3660")
    writer.activate(f"{text}\n{section}")
    writer.vendor("szdex", uscc_of(71), "corpus-coupon")
    writer.shop("K", "corpus-coupon", "szdex")
    writer.issue(2025, "8.00", programme="corpus-coupon")
    dates = {"service_from": "2024-12-17", "service_until": "2025-01-06"}
    writer.sell(
        purchase("p1", "K", "20.00", "2025-01-01", **dates),
        purchase("p2", "K", "30.01", "2025-01-02"),
        purchase("p3", "A", "1.00", "2025-01-02"),
    )
    writer.sell(voids=[void("p2")])


def _divide(writer: Writer) -> None:
    """Divide a pool of three fen between two."""
    section = '[allocation]\nmode = "proportional"\narticle = "1"\nstanding = "measures"\n'
    writer.activate(f"{policy(programme='divided', pool='0.03')}\n{section}")
    for id_, uscc in (("D1", ALPHA), ("D2", BETA)):
        writer.contract(id_, programme="divided", enterprise=uscc)
    writer.allocate(2025, (ALPHA, "0.02"), (BETA, "0.04"), programme="divided")


def _end_year(writer: Writer) -> None:
    """End 2024 for a programme whose claims are open for a month."""
    writer.activate(policy(programme="brief", claim_months=1))
    writer.contract("E", programme="brief", enterprise=BETA)
    writer.issue(2024, "2.00", BETA, programme="brief")
    writer.at("2025-03-01T12:00:00+08:00")
    writer.expire(2024, "brief")
    writer.close(2024, "brief")


def _answer(writer: Writer) -> None:
    """Close a month with a gap and confirm it; dispute a record, and let it stand."""
    writer.post([], seq=2, stream="spare")
    writer.close_month("2025-01", "op")
    writer.confirm_month("2025-01")
    writer.dispute("r2")
    writer.dismiss("r2")
    writer.digest_accesses("2025-01-15")
    writer.digest_state()


def _add_people(writer: Writer) -> None:
    writer.person("li")
    writer.token("li-1", "li")
    coupon = {"programme": PROGRAMME, "enterprise": ALPHA, "year": 2025, "amount": "1.00"}
    writer.confirm(writer.propose("withdrawal", **coupon), "li-1")
    writer.end_proposal(writer.propose("withdrawal", **coupon))
    writer.ask(commands.EndToken, token="li-1")
    writer.ask(commands.EndPerson, id="li")
    writer.recover_person("zhao", "zhao-1")


def policy(**figures: Any) -> str:
    """Return a policy without its comments: in a short text, more changes matter."""
    return without_comments(lifted(**figures))


def without_comments(text: str) -> str:
    return re.sub(r"(?m)^#.*\n| *#.*$", "", text)


def usage(
    id_: str, contract: str = "A", hour: int = 0, milli_devices: int = 8_000, **more: Any
) -> Any:
    start = START + hour * HOUR
    return record(id_, contract, start, start + HOUR, milli_devices, **more)


def goes_on(do: Callable[[Writer], object]) -> None:
    """Let a writer go on from the story. Its entries must pass the audit."""
    writer = story().twin()
    do(writer)
    audit, tree = copy.deepcopy(_audited())
    for number in range(len(story().leaves), len(writer.leaves)):
        _replay(writer, number, audit, tree)
    audit.finish()


def audit(writer: Writer) -> None:
    """Audit all that was written. Raises `Violation`."""
    found, tree = Audit(), Tree()
    for number in range(len(writer.leaves)):
        _replay(writer, number, found, tree)
    found.finish()


@cache
def _audited() -> tuple[Audit, Tree]:
    audit, tree = Audit(), Tree()
    for number in range(len(story().leaves)):
        _replay(story(), number, audit, tree)
    audit.finish()
    return audit, tree


def _replay(writer: Writer, number: int, audit: Audit, tree: Tree) -> None:
    leaf = writer.leaves[number]
    audit.entry(number, leaf, canon.decode(leaf), writer.files.get(number, []), tree)
    tree.append(leaf_hash(leaf))


def layout(leaves: list[bytes], files: dict[int, list[bytes]], signer: Signer) -> dict[str, bytes]:
    """Return the files of an export of at most 255 entries, hashed and signed, by path."""
    tree, entries = Tree(), Tile("entries", 0, len(leaves))
    for leaf in leaves:
        tree.append(leaf_hash(leaf))
    return {
        entries.path: bundle.encode_bundle(leaves),
        entries.beside(0).path: tree.tile_hashes(0, 0, tree.size),
        entries.beside("batches").path: bundle.encode_attachments(files),
        CHECKPOINT: sign(Checkpoint(ORIGIN, tree.size, tree.root()).format(), signer),
    }


@cache
def tall() -> dict[str, bytes]:
    """Return the files of a log of made-up entries (`tests/ledger/exported.py`), by path."""
    with tempfile.TemporaryDirectory(prefix="kashi-fuzz-") as folder:
        out = exported(Path(folder) / "log", TALL)
        paths = sorted(path for path in out.rglob("*") if path.is_file())
        return {path.relative_to(out).as_posix(): path.read_bytes() for path in paths}


class Scratch:
    """A folder that ends with the process; only files that differ are written."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="kashi-fuzz-")
        self._held: dict[str, bytes] = {}
        self.path = Path(self._folder.name)

    def hold(self, files: dict[str, bytes]) -> None:
        for path, data in files.items():
            if self._held.get(path) != data:
                (self.path / path).parent.mkdir(parents=True, exist_ok=True)
                (self.path / path).write_bytes(data)
                self._held[path] = data
