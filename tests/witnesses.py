"""A witness, two logs that it may know, and what they ask of it."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import msgspec

from ledger.cosign import CosignatureVerifier, Cosigner, add_cosignatures
from ledger.files import Files
from ledger.note import Checkpoint, Signer, sign, split_note
from ledger.tlog import Tree
from ledger.witnessing import AddCheckpoint, Refused, monitoring_path
from meter.witness.server import serving
from meter.witness.witness import Evidence, Witness
from tests.commands import REPOSITORY
from tests.ledger.example import TIME, tree_of

PAGE = REPOSITORY / "docs" / "witnesses.md"
LOG = Signer.from_seed("kashi.test/log", bytes(range(32)))
OTHER = Signer.from_seed("kashi.test/other", bytes(range(1, 33)))
NEW = Signer.from_seed(LOG.name, bytes(range(3, 35)))  # the successor of LOG
NAME = "university.test/w1"
WITNESS = Cosigner.from_seed("bureau.test/w2", bytes(range(4, 36)))
MOST = 40
TREE = tree_of([f"entry {number}".encode() for number in range(MOST)])
FORK = tree_of([f"entry {number}".encode() for number in range(4)] + [b"other"] * (MOST - 4))


def note(size: int, tree: Tree = TREE, signer: Signer = LOG) -> bytes:
    return sign(Checkpoint(signer.name, size, tree.root(size)).format(), signer)


def text(size: int, tree: Tree = TREE) -> str:
    return Checkpoint(LOG.name, size, tree.root(size)).format()


def asked(old: int, new: int, tree: Tree = TREE, signer: Signer = LOG) -> bytes:
    """Return the request of an honest log with this tree."""
    return request(old, new, note(new, tree, signer), tree)


def request(old: int, new: int, signed: bytes, tree: Tree = TREE) -> bytes:
    proof = tree.consistency_proof(old, new) if old <= new else []
    return AddCheckpoint(old, tuple(proof), signed).format()


def with_hashes(body: bytes, *hashes: bytes) -> bytes:
    request = AddCheckpoint.parse(body)
    return AddCheckpoint(request.old, hashes, request.note).format()


def cosigned(log: Path, copy: Path) -> Path:
    """Copy a log's folder to where `WITNESS` has cosigned its checkpoint."""
    shutil.copytree(log, copy)
    signed = (log / "checkpoint").read_bytes()
    line = WITNESS.cosign(split_note(signed)[0], TIME)
    (copy / "checkpoint").write_bytes(add_cosignatures(signed, [line]))
    return copy


@dataclass
class Clock:
    time: int = TIME

    def __call__(self) -> int:
        return self.time


def verifier_of(folder: Path) -> CosignatureVerifier:
    return CosignatureVerifier.parse((folder / "witness.vkey").read_text().strip())


def opened(folder: Path, clock: Clock | None = None, files: Files | None = None) -> Witness:
    return Witness.open(folder, clock or Clock(), files or Files())


def size_in(folder: Path, signer: Signer = LOG) -> int:
    with opened(folder) as witness:
        found = witness.signed_at(monitoring_path(signer.name))
        return found.checkpoint.size if found else 0


def evidence_in(folder: Path, signer: Signer = LOG) -> list[Evidence]:
    files = sorted((folder / monitoring_path(signer.name)).parent.glob("evidence/*"))
    return [msgspec.json.decode(file.read_bytes(), type=Evidence) for file in files]


def status(answer: str | Refused) -> tuple[int, str]:
    return (200, "") if isinstance(answer, str) else (answer.status, answer.reason)


@dataclass(frozen=True)
class Reply:
    status: int
    type: str
    text: str


async def fetch(url: str, body: bytes | None = None, **headers: str) -> Reply:
    """Get a page, or post a body to it."""
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.request("GET" if body is None else "POST", url, data=body) as response,
    ):
        return Reply(response.status, response.headers["Content-Type"], await response.text())


def served(folder: Path, clock: Clock | None = None):
    return serving(folder, "127.0.0.1", 0, clock or Clock())
