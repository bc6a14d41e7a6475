"""Where people are alerted and of what, the messages to them, and each attempt to send one.

All times are microseconds by the service's clock. What crosses puts messages there
(`tables.outbox`); this is about what comes of them.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, Literal

from ledger.queries import load
from meter.host.tokens import Identity
from meter.tables.connections import Connection
from meter.values.problems import Problem
from meter.values.roles import Role
from meter.views.crossings import KINDS, Kind, audience_of, message

Means = Literal["webhook", "mail"]
Language = Literal["zh", "en"]
Why = Literal["", "person", "failed", "ended"]

MAX_TARGETS: Final = 10  # of a person
MAX_SHOWN: Final = 200  # messages of a person, the newest ones

_SQL: Final = load("meter.tables", "alerts.sql")


@dataclass(frozen=True, slots=True)
class Target:
    """A place to which messages of some kinds go, while `off_at` is None."""

    id: str
    owner: str
    role: Role
    audience: str
    means: Means
    address: str
    language: Language
    kinds: tuple[Kind, ...]
    made_at: int
    off_at: int | None = None
    off_why: Why = ""


@dataclass(frozen=True, slots=True)
class Due:
    """A message to be sent now, after so many `attempts` in vain.

    Nothing goes to an owner whose token or person has ended, who then no longer `may_read`.
    """

    id: str
    kind: str
    body: bytes
    attempts: int
    target: Target
    may_read: bool


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt to send a message, and how long it took."""

    at: int
    is_taken: bool
    detail: str
    ms: int


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message with its attempts: it waits until `due_at`, was taken, or was given up."""

    id: str
    target: str
    kind: str
    body: bytes
    made_at: int
    due_at: int | None
    taken_at: int | None
    attempts: tuple[Attempt, ...]


def new_target(  # noqa: PLR0913 - one argument for each thing that a person chooses
    who: Identity,
    id_: str,
    *,
    means: Means,
    address: str,
    language: Language,
    kinds: Collection[str],
    now: int,
) -> Target:
    """Return a target of a token or person."""
    audience = audience_of(who.role, who.subject)
    chosen = chosen_of(who.role, kinds)
    return Target(id_, who.token_id, who.role, audience, means, address, language, chosen, now)


def chosen_of(role: Role, kinds: Collection[str]) -> tuple[Kind, ...]:
    """Return the kinds that somebody chose. Raises `malformed` for those of another role."""
    others = set(kinds) - set(KINDS[role])
    if others:
        raise Problem("malformed", f"no kinds of alerts for {role}: {', '.join(sorted(others))}")
    return tuple(kind for kind in KINDS[role] if kind in kinds)


# For their owners


async def add_target(connection: Connection, target: Target) -> None:
    """Keep a target. Raises `too_many_targets`."""
    async with connection.transaction():
        await connection.execute(_SQL["lock_targets"], target.owner)
        if len(await targets_of(connection, target.owner)) >= MAX_TARGETS:
            raise Problem("too_many_targets", f"there are {MAX_TARGETS} already")
        await connection.execute(
            _SQL["add_target"],
            *(target.id, target.owner, target.role, target.audience, target.means),
            *(target.address, target.language, list(target.kinds), target.made_at),
        )


async def targets_of(connection: Connection, owner: str) -> list[Target]:
    """Return the targets of a person or token, the oldest first."""
    return [_target(row) for row in await connection.fetch(_SQL["targets"], owner)]


async def target_of(connection: Connection, owner: str, id_: str) -> Target:
    """Return one of an owner's targets. Raises `not_found`."""
    for target in await targets_of(connection, owner):
        if target.id == id_:
            return target
    raise Problem("not_found", "there is no such target of yours")


async def change_target(
    connection: Connection, target: Target, language: Language, kinds: Sequence[Kind]
) -> None:
    """Choose other kinds, or another language."""
    names = target.id, target.owner
    await connection.execute(_SQL["change_target"], *names, language, list(kinds))


async def turn_on(connection: Connection, target: Target, now: int) -> None:
    """Send to a target again, first of all what it has not taken."""
    async with connection.transaction():
        await connection.execute(_SQL["turn_on"], target.id)
        await connection.execute(_SQL["resume"], target.id, now)


async def turn_off(connection: Connection, target: Target, now: int, why: Why) -> None:
    """Send nothing more to a target; its owner's other ones are told where it has failed."""
    async with connection.transaction():
        await connection.execute(_SQL["turn_off"], target.id, now, why)
        await connection.execute(_SQL["rest"], target.id)
        if why == "failed":
            key = sha256(f"off {target.id} {now}".encode()).hexdigest()
            data = {"means": target.means, "address": target.address}
            body = message("off", now, data)
            await connection.execute(_SQL["put_notice"], target.id, key, body, now)


async def put_test(connection: Connection, target: Target, id_: str, now: int) -> None:
    """Put a message that only says that it is a test. Raises `target_off`."""
    if target.off_at is not None:
        raise Problem("target_off", "turn the target on first")
    body = message("test", now, {"target": target.id})
    await connection.execute(_SQL["put_test"], id_, target.id, body, now)


async def send_again(connection: Connection, owner: str, alert: str, now: int) -> None:
    """Send an owner's message again, with the same id and body. Raises `not_found`."""
    if await connection.fetchval(_SQL["send_again"], alert, owner, now) is None:
        raise Problem("not_found", "no such message of yours is settled, to a target that is on")


async def deliveries(connection: Connection, owner: str) -> list[Delivery]:
    """Return the newest messages of an owner, the newest first."""
    rows = await connection.fetch(_SQL["deliveries"], owner, MAX_SHOWN)
    attempts: dict[str, list[Attempt]] = {row["id"]: [] for row in rows}
    for alert, *attempt in await connection.fetch(_SQL["attempts"], list(attempts)):
        attempts[alert].append(Attempt(*attempt))
    return [
        Delivery(
            *(row["id"], row["target"], row["kind"], row["body"], row["made_at"]),
            *(row["due_at"], row["taken_at"], tuple(attempts[row["id"]])),
        )
        for row in rows
    ]


# For whoever sends


async def due(connection: Connection, now: int, busy: Collection[str], most: int) -> list[Due]:
    """Return messages that are due, at most one for each target that is not `busy`."""
    rows = await connection.fetch(_SQL["due_alerts"], now, list(busy), most)
    return [
        Due(row["alert"], row["kind"], row["body"], row["attempts"], _target(row), row["may_read"])
        for row in rows
    ]


async def settle(connection: Connection, alert: str, attempt: Attempt, due_at: int | None) -> None:
    """Note an attempt; the next one is at `due_at`, none where it was the last."""
    taken_at = attempt.at if attempt.is_taken else None
    async with connection.transaction():
        await connection.execute(
            _SQL["note_attempt"], alert, attempt.at, attempt.is_taken, attempt.detail, attempt.ms
        )
        await connection.execute(_SQL["settle"], alert, due_at, taken_at)


async def waiting(connection: Connection) -> tuple[int, int | None]:
    """Return how many messages wait, and when the oldest was made."""
    row = await connection.fetchrow(_SQL["waiting"])
    assert row is not None, "a count has a row"
    return row["count"], row["oldest"]


async def newest_batches(connection: Connection) -> Mapping[str, int]:
    """Return when the newest batch of each provider came."""
    return {row["provider"]: row["at"] for row in await connection.fetch(_SQL["newest_batches"])}


def _target(row: Any) -> Target:
    return Target(
        *(row["id"], row["owner"], row["role"], row["audience"], row["means"], row["address"]),
        *(row["language"], tuple(row["kinds"]), row["made_at"], row["off_at"], row["off_why"]),
    )
