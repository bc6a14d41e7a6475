"""The worked example that independent implementations of C2SP accept, as texts and as objects.

A log of the entries `alpha`, `beta` and `gamma` has signed its checkpoint. It has asked a witness
to cosign it, with a proof from its first two entries, and the witness has done so.
"""

from collections.abc import Iterator

from ledger.cosign import Cosigner
from ledger.note import Checkpoint, Signer, sign
from ledger.tlog import Tree, leaf_hash

ENTRIES = [b"alpha", b"beta", b"gamma"]
LOG = Signer.from_seed("example.com/log", bytes(range(32)))
WITNESS = Cosigner.from_seed("example.com/w1", bytes(range(32, 64)))
TIME = 1_767_225_600

LOG_VKEY = "example.com/log+d455c521+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4"
WITNESS_VKEY = "example.com/w1+4bafb710+BCmsuuFBvMrwsi4alNNNC8c2HlJtC/4SyJeUvJMilm3X"
WITNESS_SKEY = "PRIVATE+KEY+example.com/w1+4bafb710+BCAhIiMkJSYnKCkqKywtLi8wMTIzNDU2Nzg5Ojs8PT4/"

TEXT = "example.com/log\n3\nOF2jDzkXKCyJOd/4UZV+UZqxhGsTUaFMCts7EWMnQqo=\n"
LOG_LINE = (
    "— example.com/log 1FXFIdzWOMUF5pSezGt/DmachpVXciLFKKnZ+sgRl97K9vchkGNZ+yCxWnHYduoR"
    "dIk6cnzBL/mXmCHblaLJwlXARAI=\n"
)
WITNESS_LINE = (
    "— example.com/w1 S6+3EAAAAABpVbkA9ttiY9BmmzcHmrzGLP/Qy+x9ZqN0l38T+ccP7vUpBk4OUA5p"
    "kYJHWBcNu2llOlsbW7ap/Rgu6ZH2HdO0M4WuCg==\n"
)
SIGNED = f"{TEXT}\n{LOG_LINE}".encode()
COSIGNED = SIGNED + WITNESS_LINE.encode()

HASHES = [
    "KhWNiv1I4/iMtBld/bKp5IF9lfpX/TREDZP5quXE+Cs=",
    "THnQ1i989cqIdBVfLTuHXyYl2iuzq8hrvWgz8lupDlE=",
]
PROOF = f"c2sp.org/tlog-proof@v1\nindex 1\n{HASHES[0]}\n{HASHES[1]}\n\n".encode() + COSIGNED
REQUEST = f"old 2\n{HASHES[1]}\n\n".encode() + SIGNED


def tree_of(entries: list[bytes]) -> Tree:
    tree = Tree()
    for entry in entries:
        tree.append(leaf_hash(entry))
    return tree


def signed(tree: Tree, size: int, signer: Signer = LOG) -> bytes:
    """Return the note that the log signed at `size` entries."""
    return sign(Checkpoint(LOG.name, size, tree.root(size)).format(), signer)


def flips(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield each place, with the data in which one bit of that place is flipped."""
    for place in range(len(data)):
        for bit in range(8):
            changed = bytearray(data)
            changed[place] ^= 1 << bit
            yield place, bytes(changed)


def losses(data: bytes) -> Iterator[bytes]:
    """Yield the data cut off at each place, and without the byte of each place."""
    for place in range(len(data)):
        yield data[:place]
        yield data[:place] + data[place + 1 :]
