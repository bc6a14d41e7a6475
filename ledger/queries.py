"""Named SQL statements from the files of a package's `sql/` folder.

A file holds statements one after the other, each under a line `-- name: <name>`:

    -- name: head
    SELECT epoch, size FROM ledger.head;
"""

import re
from importlib.resources import files
from typing import Final

_NAME: Final = re.compile(r"^-- name: ([a-z_]+)$", re.MULTILINE)


def load(package: str, file: str = "queries.sql") -> dict[str, str]:
    """Return the statements of one file by name."""
    _, *parts = _NAME.split(script(package, file))
    names = parts[::2]
    assert len(set(names)) == len(names), f"{package}/{file} has two statements of one name"
    return dict(zip(names, (part.strip() for part in parts[1::2]), strict=True))


def script(package: str, file: str) -> str:
    """Return a whole file, to be run as it is."""
    return (files(package) / "sql" / file).read_text(encoding="utf-8")
