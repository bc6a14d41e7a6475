"""Named SQL statements from the files of a package's `sql/` folder.

A file holds statements one after the other, each under a line `-- name: <name>`:

    -- name: head
    SELECT epoch, size FROM ledger.head;

A name that a statement can take from no parameter stands in it as psql has it: `:"owner"` for the
identifier, `:'owner'` for the text.
"""

import re
from collections.abc import Mapping
from importlib.resources import files
from typing import Final

_NAME: Final = re.compile(r"^-- name: ([a-z_]+)$", re.MULTILINE)


def load(package: str, file: str = "queries.sql") -> dict[str, str]:
    """Return the statements of one file by name."""
    _, *parts = _NAME.split(script(package, file))
    names = parts[::2]
    assert len(set(names)) == len(names), f"{package}/{file} has two statements of one name"
    return dict(zip(names, (part.strip() for part in parts[1::2]), strict=True))


def script(package: str, file: str, names: Mapping[str, str] | None = None) -> str:
    """Read a whole file, to be run as it is once its names are filled in."""
    text = (files(package) / "sql" / file).read_text(encoding="utf-8")
    return with_names(text, names or {})


def with_names(sql: str, names: Mapping[str, str]) -> str:
    """Return SQL with its names filled in, quoted as identifiers or as text."""
    for key, name in names.items():
        sql = sql.replace(f':"{key}"', '"{}"'.format(name.replace('"', '""')))
        sql = sql.replace(f":'{key}'", "'{}'".format(name.replace("'", "''")))
    return sql
