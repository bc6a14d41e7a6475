"""Whom and what a question is about, by its URL: for the access log, which holds no content."""

from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

from msgspec import Struct

from meter.host.tokens import Identity

# What a parameter of a path or a query names. What somebody searches for is content.
_NAMED: Final = {
    "uscc": "enterprise",
    "digest": "batch",
    "line": "entry",
    "withheld": "entry",
    "id": "person",
    **{
        name: name
        for name in (
            *("enterprise", "provider", "contract", "award", "project", "item", "claim"),
            *("entry", "batch", "record", "run", "stream", "person", "token", "keyid", "proposal"),
            "month",
        )
    },
}
MAX_VALUE: Final = 200  # characters of a value: no id is as long


def subjects_of(names: Mapping[str, str], query: Struct, who: Identity) -> tuple[str, ...]:
    """Return what a question names, as `enterprise:…`; else the subject of who asks, if any."""
    given = dict(names) | {name: getattr(query, name) for name in query.__struct_fields__}
    found = {
        f"{_NAMED[name]}:{quote(value[:MAX_VALUE], safe=':')}"
        for name, value in given.items()
        if name in _NAMED and isinstance(value, str) and value
    }
    if not found and who.subject:
        found = {f"{who.role}:{who.subject}"}
    return tuple(sorted(found))
