"""Where people are alerted and of what, the messages to them, and each attempt to send one.

All times are microseconds by the service's clock. What crosses puts messages there
(`tables.outbox`); this is about what comes of them.
"""

import time
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, Literal

import msgspec

from ledger.queries import load
from meter.host.alerts_file import Sending
from meter.host.destinations import Choice, Language, Means, check_mail, check_url
from meter.host.tokens import Identity
from meter.tables.connections import Connection, Readers, reading
from meter.values.problems import Problem
from meter.values.roles import Role
from meter.values.units import DAY_SECONDS, MICROSECONDS
from meter.views.crossings import KINDS, Kind, audience_of, message

Why = Literal["", "person", "failed", "ended"]

MAX_TARGETS: Final = 10  # of a person
KEY_SECONDS: Final = 10.0  # for which the public key is known
MAX_SHOWN: Final = 200  # messages of a person, the newest ones
KEPT_DAYS: Final = 400  # a year, and what somebody needs to ask about its end
FORGOTTEN_AT_ONCE: Final = 1_000  # rows, so that no statement is long

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

    @property
    def status(self) -> Literal["waiting", "taken", "given_up"]:
        """Return what has come of it."""
        if self.due_at is not None:
            return "waiting"
        return "given_up" if self.taken_at is None else "taken"


def new_target(who: Identity, id_: str, choice: Choice, address: str, now: int) -> Target:
    """Return a target of a token or person. Raises `malformed`."""
    kinds, audience = chosen_of(who.role, choice.kinds), audience_of(who.role, who.subject)
    owner = (who.token_id, who.role, audience)
    return Target(id_, *owner, choice.means, address, choice.language, kinds, now)


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
    """Send to a target again that is off, first of all what it has not taken."""
    async with connection.transaction():
        if await connection.fetchval(_SQL["turn_on"], target.id) is not None:
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
    """Send an owner's message again, with the same id and body, unless it waits anyway.

    Raises `not_found`, `target_off`.
    """
    held = await delivery(connection, owner, alert)
    if (await target_of(connection, owner, held.target)).off_at is not None:
        raise Problem("target_off", "turn the target on first")
    await connection.execute(_SQL["send_again"], alert, now)


async def is_new(connection: Connection, name: str, asked: bytes, now: int) -> bool:
    """Keep what is asked for under a name; return whether nothing was asked under it before.

    It is kept with what the caller's transaction does. Raises `idempotency_conflict`.
    """
    if await connection.fetchval(_SQL["note_request"], name, asked, now) is not None:
        return True
    if await connection.fetchval(_SQL["request"], name) != asked:
        raise Problem("idempotency_conflict", "another request about alerts used this key")
    return False


async def deliveries(connection: Connection, owner: str) -> list[Delivery]:
    """Return the newest messages of an owner, the newest first."""
    return await _with_attempts(
        connection, await connection.fetch(_SQL["deliveries"], owner, MAX_SHOWN)
    )


async def delivery(connection: Connection, owner: str, alert: str) -> Delivery:
    """Return one of an owner's messages. Raises `not_found`."""
    rows = await connection.fetch(_SQL["delivery"], owner, alert)
    if not rows:
        raise Problem("not_found", "there is no such message of yours")
    return (await _with_attempts(connection, rows))[0]


async def _with_attempts(connection: Connection, rows: Sequence[Any]) -> list[Delivery]:
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


class AlertBook:
    """The targets and messages of whoever asks, of one running service.

    Each method raises `Problem` `unavailable`, and `not_found` for what is another's. `key` is any
    text: what is asked for again with the same one is done once, and nothing else is
    (`idempotency_conflict`); what was refused leaves it free.
    """

    def __init__(self, readers: Readers, sending: Sending) -> None:
        self._readers = readers
        self._sending = sending
        self._key = b""
        self._key_at = 0.0

    async def webhook_key(self) -> bytes:
        """Return the public key by which whoever leads signs webhooks; it is asked for often."""
        now = time.monotonic()
        if not self._key or now - self._key_at > KEY_SECONDS:
            async with self._connection() as connection:
                self._key = bytes(await connection.fetchval(_SQL["webhook_key"]) or b"")
            self._key_at = now
        if not self._key:
            raise Problem("unavailable", "nobody has led this ledger yet")
        return self._key

    @property
    def sends_mail(self) -> bool:
        """Whether the operator has named a server of mail."""
        return self._sending.mail is not None

    async def targets(self, who: Identity) -> list[Target]:
        """Return all targets, the oldest first."""
        async with self._connection() as connection:
            return await targets_of(connection, who.token_id)

    async def add(self, who: Identity, choice: Choice, address: str, key: str, now: int) -> Target:
        """Add a target. Raises `bad_target`, `malformed`, `too_many_targets`."""
        if choice.means == "webhook":
            check_url(address, self._sending.hosts)
        elif not self.sends_mail:
            raise Problem("bad_target", "the service sends no mail")
        else:
            check_mail(address)
        target = new_target(who, f"tgt_{_name(who, key)}", choice, address, now)
        asked = ("add", choice.means, address, choice.language, *target.kinds)
        async with self._once(who, key, now, asked) as (connection, is_first):
            if is_first:
                await add_target(connection, target)
            return await target_of(connection, who.token_id, target.id)

    async def change(self, who: Identity, id_: str, choice: Choice) -> None:
        """Choose other kinds, or another language. Raises `malformed`."""
        kinds = chosen_of(who.role, choice.kinds)
        async with self._connection() as connection:
            target = await target_of(connection, who.token_id, id_)
            await change_target(connection, target, choice.language, kinds)

    async def turn(self, who: Identity, id_: str, key: str, now: int, *, is_on: bool) -> Target:
        """Turn a target on or off."""
        asked = ("turn", id_, str(is_on))
        async with self._once(who, key, now, asked) as (connection, is_first):
            target = await target_of(connection, who.token_id, id_)
            if is_first and is_on:
                await turn_on(connection, target, now)
            elif is_first:
                await turn_off(connection, target, now, "person")
            return await target_of(connection, who.token_id, id_)

    async def test(self, who: Identity, id_: str, key: str, now: int) -> Delivery:
        """Send a test to a target. Raises `target_off`."""
        message_id = f"msg_{_name(who, key)}"
        async with self._once(who, key, now, ("test", id_)) as (connection, is_first):
            if is_first:
                target = await target_of(connection, who.token_id, id_)
                await put_test(connection, target, message_id, now)
            return await delivery(connection, who.token_id, message_id)

    async def send_again(self, who: Identity, alert: str, key: str, now: int) -> Delivery:
        """Send a message again that was taken or given up. Raises `target_off`."""
        async with self._once(who, key, now, ("replay", alert)) as (connection, is_first):
            if is_first:
                await send_again(connection, who.token_id, alert, now)
            return await delivery(connection, who.token_id, alert)

    async def deliveries(self, who: Identity) -> list[Delivery]:
        """Return the newest messages, the newest first."""
        async with self._connection() as connection:
            return await deliveries(connection, who.token_id)

    @asynccontextmanager
    async def _once(
        self, who: Identity, key: str, now: int, asked: Sequence[str]
    ) -> AsyncIterator[tuple[Connection, bool]]:
        """Open a transaction; whether the key was free comes with it."""
        digest = sha256(msgspec.json.encode(asked)).digest()
        async with self._connection() as connection, connection.transaction():
            yield connection, await is_new(connection, _name(who, key), digest, now)

    def _connection(self) -> AbstractAsyncContextManager[Connection]:
        return reading(self._readers, snapshot=False)


def _name(who: Identity, key: str) -> str:
    """Return what a key of somebody stands for."""
    return sha256(f"{who.token_id} {key}".encode()).hexdigest()[:32]


# For whoever sends


async def keep_webhook_key(connection: Connection, public: bytes) -> None:
    """Keep the public key of whoever sends."""
    await connection.execute(_SQL["keep_webhook_key"], public)


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
    """Return how many messages wait, and when the first of them is due."""
    row = await connection.fetchrow(_SQL["waiting"])
    assert row is not None, "a count has a row"
    return row["count"], row["due"]


async def forget(connection: Connection, now: int) -> None:
    """Remove messages, with their attempts, and keys, once they are `KEPT_DAYS` old.

    What waits is kept. Each step is a transaction of its own.
    """
    before = now - KEPT_DAYS * DAY_SECONDS * MICROSECONDS
    for name in ("forget_alerts", "forget_requests"):
        full = f"DELETE {FORGOTTEN_AT_ONCE}"
        while await connection.execute(_SQL[name], before, FORGOTTEN_AT_ONCE) == full:
            pass


async def newest_batches(connection: Connection) -> Mapping[str, int]:
    """Return when the newest batch of each provider came."""
    return {row["provider"]: row["at"] for row in await connection.fetch(_SQL["newest_batches"])}


def _target(row: Any) -> Target:
    return Target(
        *(row["id"], row["owner"], row["role"], row["audience"], row["means"], row["address"]),
        *(row["language"], tuple(row["kinds"]), row["made_at"], row["off_at"], row["off_why"]),
    )
