"""The authority's tokens, as a service lists them: each one made, revoked or gone is told once.

    {"notice":"token_made","at":"2025-03-01T12:00:00+08:00","token":"authority-2",
     "since":"2025-03-01T11:59:30+08:00"}

`notice` is `token_made`, `token_revoked` or `token_gone`; `since` is when the service says that it
was made or revoked. The first look tells all tokens that there are. What was told is kept in a
file, `{"authority-2":false}`: by id, whether it is revoked. A token that is in no list any more was
removed from the database, past the service.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from ledger.errors import CannotCheck
from meter.auditor.alarms import Say
from meter.auditor.verdict import replace_file
from meter.client import ClientError, Service
from meter.values.units import format_instant
from meter.values.worded import worded

PAGE: Final = 1_000


class TokenWatch:
    """The tokens of one service; `token` is an auditor's. `clock` gives seconds since 1970."""

    def __init__(
        self, url: str, token: str | None, path: Path, say: Say, clock: Callable[[], int]
    ) -> None:
        """Begin with what was told. Raises `CannotCheck` where the file cannot be read."""
        self._url, self._token, self._path = url, token, path
        self._say, self._clock = say, clock
        self._told = _read(path)
        self._kept = self._told

    async def look(self) -> None:
        """Ask the service once, and tell what has changed."""
        try:
            listed = {each["id"]: each for each in await self._ask()}
        except (ClientError, KeyError, TypeError) as error:
            detail = worded(f"tokens at {self._url}: {error}")
            self._say({"event": "failed", "at": self._now(), "detail": detail})
            return
        for name, token in listed.items():
            if name not in self._told:
                self._tell("token_made", name, token.get("made_at", ""))
            if "revoked_at" in token and not self._told.get(name, False):
                self._tell("token_revoked", name, token["revoked_at"])
        for name in self._told.keys() - listed.keys():
            self._tell("token_gone", name, "")
        self._told = {name: "revoked_at" in token for name, token in listed.items()}
        self._keep()

    def _keep(self) -> None:
        """Keep what was told, after it is said: it may be said twice, but not never."""
        if self._told == self._kept:
            return
        try:
            replace_file(self._path, msgspec.json.encode(self._told) + b"\n")
        except OSError as error:  # tried again at the next look
            detail = worded(f"cannot write {self._path}: {error}")
            self._say({"event": "failed", "at": self._now(), "detail": detail})
            return
        self._kept = self._told

    async def _ask(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        page: dict[str, Any] = {"next": "", "more": True}
        async with Service(self._url, self._token, attempts=1) as service:
            while page["more"]:
                query = {"role": "authority", "limit": PAGE, "after": page["next"]}
                page = await service.ask("/v1/tokens", **query)
                found += page["tokens"]
        return found

    def _tell(self, notice: str, name: str, since: str) -> None:
        self._say({"notice": notice, "at": self._now(), "token": name, "since": since})

    def _now(self) -> str:
        return format_instant(self._clock())


def _read(path: Path) -> dict[str, bool]:
    if not path.exists():
        return {}
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, bool])
    except (OSError, ValueError) as error:
        raise CannotCheck(f"the tokens in {path} cannot be read: {error}") from error
