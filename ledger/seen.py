"""The checkpoint that a verification has seen, in a small file for the next verification.

    {"origin":"kashi.example/city","root":"OF2jDzkXKCyJOd/4UZV+UZqxhGsTUaFMCts7EWMnQqo=","size":3,
     "vkey":"kashi.example/city+d455c521+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4"}

The root is base64, and the key is the one that verified the checkpoint. Whoever can write the file
can hide a fork from a later verification: keep it where the log's operator has no access.
"""

from base64 import b64decode, b64encode
from dataclasses import dataclass

import msgspec

from ledger.errors import BadNote, CannotCheck
from ledger.note import Checkpoint


@dataclass(frozen=True, slots=True)
class Seen:
    """A checkpoint that was found good, and the log's public key."""

    checkpoint: Checkpoint
    vkey: str

    def format(self) -> bytes:
        """Return the text of the file, with a line feed."""
        checkpoint = self.checkpoint
        root = b64encode(checkpoint.root).decode()
        fields = _Fields(checkpoint.origin, root, checkpoint.size, self.vkey)
        return msgspec.json.encode(fields) + b"\n"

    @classmethod
    def parse(cls, data: bytes) -> "Seen":
        """Read a file. Raises `CannotCheck`."""
        try:
            fields = msgspec.json.decode(data, type=_Fields)
            root = b64decode(fields.root, validate=True)
            return cls(Checkpoint(fields.origin, fields.size, root), fields.vkey)
        except (ValueError, RecursionError, BadNote) as error:
            raise CannotCheck(f"this is not the state of a verification: {error}") from error


class _Fields(msgspec.Struct, forbid_unknown_fields=True):
    origin: str
    root: str
    size: int
    vkey: str
