"""The ledger in PostgreSQL: appending groups, moving the head, reading entries back.

Functions use the caller's connection, and `append` the caller's transaction: what belongs to a
group is committed with it or not at all. One writer holds the *epoch*. Another may take
it over, and the first one notices at its next commit (`LostEpoch`). Writers that take turns hold a
*lease* besides: it says who may take over, and never what may be committed.
"""

from bisect import bisect_right
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final, Self

import asyncpg

from ledger import canon
from ledger.book import Book
from ledger.bundle import decode_bundle, encode_bundle
from ledger.canon import MAX_INTEGER
from ledger.errors import BadProof, LedgerError
from ledger.log import Group, Log
from ledger.queries import load, script, with_names
from ledger.roles import Roles
from ledger.tlog import EMPTY_ROOT, Frontier, leaf_hash

_SQL: Final = load("ledger")
_WARNING: Final = "01000"
_NO_LEASE: Final = "the lease has run out, or another has taken it"


class LostEpoch(LedgerError):  # noqa: N818 - the name says what is wrong
    """Another writer took the ledger over: this one must stop."""

    code = "lost_epoch"


class Inconsistent(LedgerError):  # noqa: N818 - the name says what is wrong
    """Stored data that contradicts itself."""

    code = "inconsistent"


class UnsafeServer(LedgerError):  # noqa: N818 - the name says what is wrong
    """A database server that may lose what it has confirmed."""

    code = "unsafe_server"


class Unconfirmed(LedgerError):  # noqa: N818 - the name says what is wrong
    """A commit that is done here and perhaps on no standby: the wait for one was cancelled."""

    code = "unconfirmed"


class MissingRoles(LedgerError):  # noqa: N818 - the name says what is wrong
    """The database lacks roles or rights that our login may not make."""

    code = "missing_roles"


class WrongEncoding(LedgerError):  # noqa: N818 - the name says what is wrong
    """The database does not hold every text that an entry may hold."""

    code = "wrong_encoding"


@dataclass(frozen=True, slots=True)
class Head:
    """The end of the ledger; `frontier` holds the hashes of the perfect subtrees."""

    epoch: int
    size: int
    root: bytes
    frontier: bytes
    last_at: int

    @classmethod
    def from_row(cls, row: asyncpg.Record | None) -> Self:
        assert row is not None, "the schema puts the one row there"
        return cls(*row)


@contextmanager
def confirmed(connection: asyncpg.Connection) -> Iterator[None]:
    """Raise `Unconfirmed` where a commit within succeeds without the standbys that it waits for.

    PostgreSQL then answers the COMMIT as ever, after a warning of class 01000 (manual, 27.2.8).
    """
    heard: list[str] = []

    def hear(_: object, message: asyncpg.PostgresLogMessage) -> None:
        heard.append(message.sqlstate or "")

    connection.add_log_listener(hear)
    try:
        yield
    finally:
        with suppress(asyncpg.InterfaceError):  # it is closed
            connection.remove_log_listener(hear)
    if _WARNING in heard:
        raise Unconfirmed("the wait for a standby was cancelled: it may not have the commit")


async def confirm(connection: asyncpg.Connection) -> None:
    """Wait until all that was committed so far is confirmed. Raises `Unconfirmed`."""
    with confirmed(connection):
        await connection.execute(_SQL["confirm"])


async def exists(connection: asyncpg.Connection) -> bool:
    """Return whether the database holds a ledger."""
    return bool(await connection.fetchval(_SQL["exists"]))


async def make_roles(connection: asyncpg.Connection, roles: Roles, serving: str = "") -> None:
    """Make of the roles what is missing; `serving` is the login of the service, if it is another.

    Raises `MissingRoles` where the login may not.
    """
    setup = await connection.fetchval(_SQL["login"])
    serving = serving or setup
    if not await _missing_roles(connection, roles, serving):
        return
    denied = ""
    try:
        async with connection.transaction():
            await connection.execute(roles_script(roles, setup, serving))
    except asyncpg.InsufficientPrivilegeError as error:
        denied = f" ({error.args[0]})"
    missing = await _missing_roles(connection, roles, serving)
    if missing:
        raise MissingRoles(
            f"{setup} may not make {', '.join(missing)}{denied}: an administrator runs what "
            "kashi init --print-sql prints"
        )


async def _missing_roles(connection: asyncpg.Connection, roles: Roles, serving: str) -> list[str]:
    rows = await connection.fetch(_SQL["missing_roles"], roles.owner, roles.service, serving)
    return [row["what"] for row in rows]


def roles_script(roles: Roles, setup: str, serving: str) -> str:
    """Return what makes the roles, for a login that sets the ledger up and one that serves it."""
    names = {**roles.names, "setup": setup, "serving": serving}
    return script("ledger", "roles.sql", names)


async def leave_owner(connection: asyncpg.Connection, roles: Roles) -> None:
    """Give up what only making a ledger needs, if the login gave it to itself."""
    if await connection.fetchval(_SQL["owns_by_itself"], roles.owner):
        await connection.execute(with_names(_SQL["leave_owner"], roles.names))


async def login_strength(connection: asyncpg.Connection, roles: Roles) -> str:
    """Return how the login could get round the guards of the tables, or nothing if it cannot."""
    return str(await connection.fetchval(_SQL["login_strength"], roles.owner))


async def create(connection: asyncpg.Connection, roles: Roles) -> None:
    """Make an empty ledger whose roles are there."""
    await connection.execute(script("ledger", "schema.sql", roles.names))


async def check_server(connection: asyncpg.Connection) -> None:
    """Raise `UnsafeServer` for a server whose commits may not survive a crash.

    Raise `WrongEncoding` for a database that cannot hold every text.
    """
    rows = await connection.fetch(_SQL["server_settings"])
    settings: dict[str, str] = {row["name"]: row["setting"] for row in rows}
    encoding = settings.pop("server_encoding")
    for name, setting in settings.items():
        if setting != "on":
            raise UnsafeServer(f"the server runs with {name} = {setting}")
    if encoding != "UTF8":
        raise WrongEncoding(
            f"the database's encoding is {encoding}: make one with CREATE DATABASE … "
            "ENCODING 'UTF8' TEMPLATE template0"
        )


async def collation_versions(connection: asyncpg.Connection) -> tuple[str, str]:
    """Return the version of the database's own collation when it was made, and now.

    No column of ours is ordered by it, so another version harms other tables alone.
    """
    row = await connection.fetchrow(_SQL["collation_versions"])
    assert row is not None, "we are connected to a database"
    return row["made_with"], row["now"]


async def takes_writes(connection: asyncpg.Connection) -> bool:
    """Return whether the server would take a write now."""
    return bool(await connection.fetchval(_SQL["takes_writes"]))


async def head(connection: asyncpg.Connection) -> Head:
    """Return the head."""
    return Head.from_row(await connection.fetchrow(_SQL["head"]))


async def take_over(
    connection: asyncpg.Connection, mine: int | None = None, holder: str = ""
) -> Head:
    """Become the only writer. With `mine`, raises `LostEpoch` unless that is still the epoch.

    A `holder` takes over under its lease, and raises `LostEpoch` where that has run out; others end
    whatever lease there is. The writer before is cut off from the database; its open commit is
    finished or undone.
    """
    if mine is not None:
        await check_epoch(connection, mine)
    elif holder and not await connection.fetchval(_SQL["has_lease"], holder):
        raise LostEpoch(_NO_LEASE)
    # The service's own role may not end anybody.
    await connection.execute(_SQL["as_login_role"])
    await connection.execute(_SQL["end_other_writers"])
    await connection.execute(_SQL["as_usual_role"])
    async with connection.transaction():
        if mine is not None:
            await connection.execute(_SQL["lock_any_lease"])
            row = await connection.fetchrow(_SQL["take_over_from"], mine)
        else:
            await _turn_of(connection, holder)
            row = await connection.fetchrow(_SQL["take_over"])
    if row is None:
        raise LostEpoch(f"epoch {mine} is over")
    return Head.from_row(row)


async def _turn_of(connection: asyncpg.Connection, holder: str) -> None:
    """Lock the lease for who holds it, or end it for who needs none. Raises `LostEpoch`."""
    if not holder:
        await connection.execute(_SQL["end_lease"])
    elif not await connection.fetchval(_SQL["lock_lease"], holder):
        raise LostEpoch(_NO_LEASE)


async def check_epoch(connection: asyncpg.Connection, mine: int) -> None:
    """Raise `LostEpoch` where another writer has taken over."""
    if await connection.fetchval(_SQL["epoch"]) != mine:
        raise LostEpoch(f"epoch {mine} is over")


async def take_lease(
    connection: asyncpg.Connection, holder: str, address: str, seconds: float
) -> bool:
    """Take the lease where nobody else has it, and return whether it was taken."""
    return bool(await connection.fetchval(_SQL["take_lease"], holder, address, seconds))


async def renew_lease(
    connection: asyncpg.Connection, holder: str, seconds: float, *, may_shorten: bool
) -> None:
    """Hold the lease for so long from now. Raises `LostEpoch` where another has taken it."""
    if not await connection.fetchval(_SQL["renew_lease"], holder, seconds, may_shorten):
        raise LostEpoch("another has taken the lease")


async def release_lease(connection: asyncpg.Connection, holder: str) -> None:
    """Give the lease back, if it is still the holder's."""
    await connection.execute(_SQL["release_lease"], holder)


async def lease_holder(connection: asyncpg.Connection) -> tuple[str, str] | None:
    """Return who has the lease and its address; None while nobody has."""
    row = await connection.fetchrow(_SQL["holder"])
    return None if row is None else (row["holder"], row["address"])


async def put_checkpoint(
    connection: asyncpg.Connection, epoch: int, size: int, note: bytes
) -> bytes:
    """Store a signed checkpoint, and return the one that is stored of this size.

    Raises `LostEpoch` where another writer has taken over.
    """
    stored: bytes | None = await connection.fetchval(_SQL["put_checkpoint"], epoch, size, note)
    if stored is None:
        raise LostEpoch(f"epoch {epoch} is over")
    return stored


async def show_checkpoint(
    connection: asyncpg.Connection, epoch: int, size: int, note: bytes
) -> None:
    """Store what everybody shows from now on. Raises `LostEpoch`."""
    if not await connection.fetchval(_SQL["show_checkpoint"], epoch, size, note):
        raise LostEpoch(f"epoch {epoch} is over")


async def shown_checkpoint(connection: asyncpg.Connection) -> bytes | None:
    """Return the newest checkpoint that everybody shows, if there is one."""
    note: bytes | None = await connection.fetchval(_SQL["shown_checkpoint"])
    return note


async def load_log(connection: asyncpg.Connection, head: Head, floors: tuple[str, ...]) -> Log:
    """Return the log, ready to append. Raises `Inconsistent` where frontier and root disagree."""
    try:
        frontier = Frontier.from_bytes(head.size, head.frontier)
    except BadProof as error:
        raise Inconsistent(error.detail) from None
    if frontier.root() != head.root:
        raise Inconsistent(f"the frontier of size {head.size} does not give the root")
    rows = await connection.fetch(_SQL["balances"])
    book = Book(floors, {name: int(fen) for name, fen in rows})
    return Log(frontier, book, head.last_at)


async def check_root(connection: asyncpg.Connection, head: Head) -> None:
    """Hash all entries again; needs a transaction around it. Raises `Inconsistent`."""
    frontier = Frontier()
    async for _, entry in entries(connection, 0, head.size):
        frontier.append(leaf_hash(entry))
    if (frontier.size, frontier.root()) != (head.size, head.root):
        raise Inconsistent(f"the stored entries do not give the root of size {head.size}")


async def append(connection: asyncpg.Connection, epoch: int, group: Group) -> None:
    """Append a group within the caller's transaction. Raises `LostEpoch`."""
    moved = await connection.fetchval(
        _SQL["append"],
        *(epoch, group.first, group.size, group.root, group.frontier, group.last_at),
        *(group.count, encode_bundle(group.entries), group.leaf_hashes),
        *_columns(group.balances),
    )
    if not moved:
        raise LostEpoch(f"epoch {epoch} no longer ends at size {group.first}")


async def replace_balances(connection: asyncpg.Connection, balances: dict[str, int]) -> None:
    """Write all balances anew, within the caller's transaction."""
    await connection.execute(_SQL["clear_balances"])
    await connection.execute(_SQL["put_balances"], *_columns(balances))


def _columns(balances: dict[str, int]) -> tuple[list[str], list[str]]:
    return list(balances), list(map(str, balances.values()))


async def bundles(
    connection: asyncpg.Connection, first: int, stop: int
) -> AsyncIterator[tuple[int, int, bytes]]:
    """Yield the segments that hold entries of `[first, stop)`: first number, count, bundle.

    Needs a transaction around it.
    """
    async for row in connection.cursor(_SQL["segments"], first, stop, prefetch=16):
        yield row["first"], row["count"], row["bundle"]


async def segments(
    connection: asyncpg.Connection, first: int, stop: int
) -> AsyncIterator[tuple[int, list[bytes]]]:
    """Yield the same with their entries: first number, entries."""
    async for start, count, bundle in bundles(connection, first, stop):
        yield start, decode_bundle(bundle, count)


async def entries(
    connection: asyncpg.Connection, first: int, stop: int
) -> AsyncIterator[tuple[int, bytes]]:
    """Yield the entries of `[first, stop)` with their numbers; needs a transaction around it."""
    async for start, held in segments(connection, first, stop):
        for number, entry in enumerate(held, start):
            if first <= number < stop:
                yield number, entry


async def size_at(connection: asyncpg.Connection, instant: int) -> int:
    """Return how many entries the ledger held at the end of an instant (microseconds)."""
    row = await connection.fetchrow(_SQL["segment_after"], instant)
    if row is None:
        return (await head(connection)).size
    entries = decode_bundle(row["bundle"], row["count"])
    return int(row["first"]) + bisect_right(entries, instant, key=_at)


async def commit_before(connection: asyncpg.Connection, instant: int) -> tuple[int, int] | None:
    """Return the size after the last commit that an instant includes whole, and when it ended.

    Both instants are in microseconds. Before the first commit there is none.
    """
    row = await connection.fetchrow(_SQL["commit_before"], instant)
    return None if row is None else (row["size"], row["last_at"])


async def commit_within(connection: asyncpg.Connection, number: int) -> tuple[int, int]:
    """Return the size after the commit that made an entry, and the instant of its last one."""
    row = await connection.fetchrow(_SQL["commit_within"], number)
    assert row is not None, "the caller has seen the entry"
    return row["size"], row["last_at"]


async def sizes_before(connection: asyncpg.Connection, instants: Sequence[int]) -> list[int]:
    """Return how many entries came before the first commit that ended at each instant or later.

    Instants are in microseconds. Where each commit lies on one side of an instant, that is the
    ledger's size at its beginning.
    """
    found = {
        row["place"]: row["first"] for row in await connection.fetch(_SQL["sizes_before"], instants)
    }
    size = (await head(connection)).size
    return [found.get(place, size) for place in range(1, len(instants) + 1)]


def _at(entry: bytes) -> int:
    at: int = canon.decode(entry)["at"]
    return at


async def segment_start(connection: asyncpg.Connection, number: int) -> int:
    """Return the number of the first entry of the segment that holds an entry, or would."""
    first = await connection.fetchval(_SQL["segment_of"], number)
    return 0 if first is None else int(first)


async def root_at(connection: asyncpg.Connection, size: int) -> bytes | None:
    """Return the root after the commit that left the ledger this size, or None without one."""
    if size == 0:
        return EMPTY_ROOT
    root: bytes | None = await connection.fetchval(_SQL["root_at"], size)
    return root


async def entries_at(
    connection: asyncpg.Connection, numbers: Iterable[int], most_read: int = MAX_INTEGER
) -> dict[int, bytes]:
    """Return single entries by number, without those beyond the end.

    A segment is read whole. No further one is read once those before hold `most_read` entries, so
    the entries of later segments are left out.
    """
    wanted = set(numbers)
    rows = await connection.fetch(_SQL["segments_holding"], sorted(wanted), most_read)
    return {
        number: entry
        for row in rows
        for number, entry in enumerate(decode_bundle(row["bundle"], row["count"]), row["first"])
        if number in wanted
    }
