"""A log of made-up entries and its export, for the tests of folders and of verification.

    exported(tmp_path / "out", 300)
    report = verify(tmp_path / "out", LOG.verifier, Hashes())

Entry 0 is a genesis. Every third entry has one file beside it, every ninth has two. An entry holds
the SHA-256 of its files, which `Hashes` compares.
"""

from hashlib import sha256
from pathlib import Path

from ledger import canon
from ledger.bundle import Segment, encode_bundle
from ledger.errors import Violation
from ledger.folder import FolderWriter
from ledger.note import Checkpoint, Signer, sign
from ledger.tlog import Frontier, leaf_hash

ORIGIN = "kashi.test/ledger"
LOG = Signer.from_seed(ORIGIN, bytes(range(32)))


class Hashes:
    """A replay that checks the hashes of the files beside an entry."""

    checks = ()

    def __init__(self):
        self.numbers = []
        self.finished = False

    def foresees(self, _):
        return False

    def entry(self, number, data, fields, attachments, tree):
        assert tree.size >= number
        assert canon.encode(fields) == data
        if not attachments and fields.get("files"):
            raise Violation("missing_attachment", "it has files")
        if [sha256(file).hexdigest() for file in attachments] != fields.get("files"):
            raise Violation("bad_files", "other files than the entry holds")
        self.numbers.append(number)

    def finish(self):
        self.finished = True


class Refusing(Hashes):
    """A replay that refuses one entry, or with None the whole."""

    def __init__(self, refused):
        super().__init__()
        self.refused = refused

    def entry(self, number, *_):
        if number == self.refused:
            raise Violation("refused", f"entry {number}", number)

    def finish(self):
        if self.refused is None:
            raise Violation("refused", "the whole")


def files_of(number):
    count = 0 if number % 3 else 1 if number % 9 else 2
    return [f"file {place} of {number}".encode() for place in range(count)]


def fields_of(number, **changes):
    fields = {
        "v": 1,
        "kind": "move",
        "at": 1_740_000_000_000_000 + number // 2,
        "by": "op-1",
        "postings": [["pool:a", f"coupon:{number % 5}", 7]],
        "salt": sha256(str(number).encode()).hexdigest()[:32],
        "files": [sha256(file).hexdigest() for file in files_of(number)],
    }
    if number == 0:
        fields |= {"kind": "genesis", "origin": ORIGIN, "floors": ["coupon", "pool"]}
        fields["postings"] = [["treasury:a", "pool:a", 10**9]]
    return fields | changes


def entry_of(number, **changes):
    return canon.encode(fields_of(number, **changes))


def segment(*numbers):
    """Return these entries with their files, as one commit stores them."""
    files = [(index, files_of(number)) for index, number in enumerate(numbers) if files_of(number)]
    return Segment(len(numbers), encode_bundle(map(entry_of, numbers)), files)


def segments(start, stop, most=100):
    """Yield the entries from `start` to `stop` in commits of one size."""
    for first in range(start, stop, most):
        yield segment(*range(first, min(first + most, stop)))


def exported(out: Path, size: int, changed: dict[int, bytes] | None = None) -> Path:
    """Write an honest export of `size` entries; `changed` ones are put in before it is signed."""
    entries = [(changed or {}).get(number, entry_of(number)) for number in range(size)]
    writer = FolderWriter(out)
    for number, entry in enumerate(entries):
        writer.add(entry, files_of(number))
    writer.finish(checkpoint_of(entries))
    return out


def checkpoint_of(entries, origin=ORIGIN) -> bytes:
    frontier = Frontier.over(b"".join(map(leaf_hash, entries)))
    return sign(Checkpoint(origin, frontier.size, frontier.root()).format(), LOG)
