"""What would end a service, or lose what only it has, found before it does; with remedies.

Each check yields findings. One without a code is good news. Nothing is changed, and a service may
run meanwhile.
"""

import asyncio
import contextlib
import shutil
import ssl
import time
from collections.abc import AsyncIterator, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from ledger import store as ledger_store
from ledger.cosign import cosigning_times
from ledger.errors import LedgerError
from ledger.folder import FolderReader
from ledger.note import claimed_checkpoint
from ledger.quorum import TrustPolicy
from ledger.tiles import CHECKPOINT
from meter.host.alerts_file import BadAlertsFile, read_sending
from meter.host.clock import Clock, LastEntry, doubt_at_start
from meter.host.cluster import BadCertificate, examined, front_context
from meter.host.data_folder import DataFolder, database_url
from meter.host.keys import Keys
from meter.host.postgres import PostgresError
from meter.host.sign_in_file import BadSignInFile, read_sign_in
from meter.publish.witnesses import read_policy
from meter.service.backup import DUMP, UNFINISHED
from meter.service.setup import SetupError, last_entry, open_database, read_origin
from meter.tables import health, load
from meter.tables.connections import Connection, connect, time_elsewhere
from meter.tables.sessions import Address
from meter.values.problems import Problem
from meter.values.units import DAY_SECONDS

MIN_FREE_BYTES: Final = 1 << 30  # a full disk stops commits
LOW_FREE: Final = 10  # one in so many
MAX_BACKUP_SECONDS: Final = DAY_SECONDS + 2 * 3_600  # daily, and the time that one takes
MIN_CERTIFICATE_DAYS: Final = 14  # renewers replace theirs a month before the end
MAX_BEHIND_BYTES: Final = 64 << 20  # four segments of PostgreSQL's log
# Beside those of the service (`docs/operations.md`): a backup, and a person.
MIN_CONNECTIONS: Final = 12
PUBLISHING_SECONDS: Final = 3.0  # a running service has published by then
_HANDSHAKE_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at; `code` and `remedy` where it is not well.

    A finding that `can_wait` takes no ledger down by itself.
    """

    what: str
    code: str = ""
    remedy: str = ""
    can_wait: bool = False

    @property
    def is_good(self) -> bool:
        return not self.code


async def examine(
    folder: DataFolder, clock: Clock, urls: Collection[str] = (), backups: Path | None = None
) -> AsyncIterator[Finding]:
    """Yield all findings about a ledger, its public `urls` and its folder of `backups`."""
    for each in _disks(folder):
        yield each
    yield _entrance(folder)
    yield _alerts(folder)
    for each in _cluster(folder):
        yield each
    try:
        async with open_database(folder, read_origin(folder), join=True) as database:
            async for each in _database(folder, database.address, clock):
                yield each
            async for each in _published_log(database.address, folder):
                yield each
    except (LedgerError, SetupError, PostgresError) as error:
        yield Finding(error.detail, error.code, "see docs/operations.md for the code")
    except Problem as problem:
        yield Finding(problem.detail, "wrong_keys", "bring the private keys back into the folder")
    for url in urls:
        yield await _reached(url)
    yield _newest_backup(backups, time.time())


# The machine


def _disks(folder: DataFolder) -> Iterator[Finding]:
    """Yield how full each file system is that the ledger is on."""
    seen = set()
    for path in (folder.path, folder.log, folder.postgres):
        if path.is_dir() and (device := path.stat().st_dev) not in seen:
            seen.add(device)
            usage = shutil.disk_usage(path)
            yield disk(path, usage.total, usage.free)


def disk(path: Path, total: int, free: int) -> Finding:
    """Return what these sizes in bytes mean for a ledger."""
    told = f"{path}: {free >> 20:,} of {total >> 20:,} MiB are free"
    remedy = "make room: a full disk stops commits"
    if free < MIN_FREE_BYTES:
        return Finding(told, "disk_full", remedy)
    if free < total // LOW_FREE:
        return Finding(told, "disk_low", remedy, can_wait=True)
    return Finding(told)


def _entrance(folder: DataFolder) -> Finding:
    """Return where people sign in to the pages; a file that does not say it ends the next start."""
    try:
        entrance, issuer = read_sign_in(folder.path)
    except BadSignInFile as error:
        return Finding(str(error), "bad_sign_in", "mend the file, or move it away")
    where = entrance.site or "this machine alone"
    return Finding(f"people sign in at {where}, {'by links' if issuer is None else issuer.url}")


def _alerts(folder: DataFolder) -> Finding:
    """Return how alerts leave; a file that does not say it ends the next start."""
    try:
        mail = read_sending(folder.path).mail
    except BadAlertsFile as error:
        return Finding(str(error), "bad_alerts", "mend the file, or move it away")
    where = "no mail" if mail is None else f"mail by {mail.host}"
    return Finding(f"alerts leave as webhooks, and {where}")


def _cluster(folder: DataFolder) -> Iterator[Finding]:
    """Yield how this machine's certificate stands, where it is one of a cluster."""
    if not any(each.exists() for each in (folder.cluster_certificate, folder.cluster_key)):
        return
    try:
        found = examined(folder)
    except BadCertificate as error:
        remedy = "make another with kashi cluster cert, where cluster-ca.key is, and restart"
        yield Finding(error.detail, "bad_certificate", remedy)
        return
    yield certificate_until(
        f"this machine, {found.host} to its cluster,",
        found.ends,
        remedy="make another with kashi cluster cert, where cluster-ca.key is, and restart",
    )


# The database


async def _database(folder: DataFolder, address: Address, clock: Clock) -> AsyncIterator[Finding]:
    async with _connected(address) as connection:
        yield _clock(clock, await last_entry(connection), await time_elsewhere(connection))
        await ledger_store.check_server(connection)
        for each in settings(await health.settings(connection)):
            yield each
        holder = await ledger_store.lease_holder(connection)
    if holder is not None and folder.cluster_certificate.exists():
        yield await _leader(folder, holder[1])
    if database_url() is None:
        yield Finding("the embedded database has no standby: backups are its copies")
        return
    # As the login, for it may have been granted to see standbys, and the service's role was not.
    async with _connected(address, owner=True) as connection:
        for each in replication(await health.replication(connection)):
            yield each


async def _leader(folder: DataFolder, address: str) -> Finding:
    """Return whether this machine and the one that leads take one another's certificates."""
    host, _, port = address.rpartition(":")
    remedy = "see that it runs, and that both have certificates of one kashi cluster cert"
    try:
        async with asyncio.timeout(_HANDSHAKE_SECONDS):
            reader, writer = await asyncio.open_connection(
                host.strip("[]"), int(port), ssl=front_context(folder)
            )
            # A leader that refuses our certificate says so only now; another tells its beat.
            is_taken = bool(await reader.read(1))
            writer.transport.abort()
    except BadCertificate as error:
        return Finding(error.detail, "bad_certificate", remedy)
    except ssl.SSLError as error:
        return Finding(f"the leader at {address}: {error.reason}", "bad_certificate", remedy)
    except (OSError, TimeoutError) as error:
        told = f"the leader at {address} cannot be reached: {type(error).__name__}"
        return Finding(told, "unreachable", "see whether it runs, and who is between")
    if not is_taken:
        return Finding(f"the leader at {address} takes no front of ours", "bad_certificate", remedy)
    return Finding(f"this machine and the leader at {address} take one another's certificates")


@contextlib.asynccontextmanager
async def _connected(address: Address, *, owner: bool = False) -> AsyncIterator[Connection]:
    connection = await connect(address, owner=owner)
    try:
        yield connection
    finally:
        await connection.close()


def _clock(clock: Clock, last: LastEntry | None, database_now: int | None) -> Finding:
    doubt = doubt_at_start(clock.now(), last, database_now)
    if doubt is not None:
        remedy = "set the clock, best by NTP; if it is right, start with --clock-is-right"
        return Finding(doubt, "wrong_clock", remedy)
    return Finding("the clock fits the last entry's time, and the database's")


def settings(found: health.Settings) -> Iterator[Finding]:
    """Yield what is not well with a server that is safe to write to."""
    if not found.takes_writes:
        yield Finding(
            "the database takes no writes",
            "read_only",
            "promote the standby, or name the primary in KASHI_DATABASE_URL",
        )
    if found.connections < MIN_CONNECTIONS:
        yield Finding(
            f"the server takes {found.connections} connections",
            "few_connections",
            f"set max_connections to {MIN_CONNECTIONS} or more",
        )
    if not found.has_checksums:
        yield Finding(
            "a page that rots on the database's disk is not noticed",
            "no_checksums",
            "stop the server and run pg_checksums --enable",
            can_wait=True,
        )
    if found.made_with != found.collation:
        yield Finding(
            f"text was ordered by {found.made_with}, and is by {found.collation} now",
            "collation_changed",
            "rebuild the indexes of other tables there, then ALTER DATABASE … REFRESH COLLATION"
            " VERSION",
            can_wait=True,
        )
    told = f"PostgreSQL {found.version} confirms what is durable (fsync, full_page_writes)"
    yield Finding(f"{told} and takes {found.connections} connections")


def replication(found: health.Replication) -> Iterator[Finding]:
    """Yield how far standbys are behind, and what holds the server's log back."""
    for slot in found.idle_slots:
        yield Finding(
            f"nobody reads the replication slot {slot}, and the server keeps its log for it",
            "slot_idle",
            f"start the standby again, or SELECT pg_drop_replication_slot('{slot}')",
        )
    if not found.standbys:
        yield Finding(
            "the database has no standby",
            "no_standby",
            "add one, best a synchronous one: else a lost disk loses what is not in the log's"
            " folder yet",
            can_wait=True,
        )
    elif not found.are_seen:
        yield Finding(
            "the login may not see how far standbys are",
            "standbys_unseen",
            "GRANT pg_read_all_stats to the login",
            can_wait=True,
        )
        return
    elif not any(each.is_synchronous for each in found.standbys):
        yield Finding(
            "no standby is synchronous",
            "not_synchronous",
            "set synchronous_standby_names: else a lost primary loses what was acknowledged",
            can_wait=True,
        )
    for each in found.standbys:
        told = f"standby {each.name} ({each.kind}) is {each.behind_bytes >> 20} MiB behind"
        if each.behind_bytes > MAX_BEHIND_BYTES:
            yield Finding(told, "standby_behind", "look at its disk and at the network to it")
        else:
            yield Finding(told)


# The published log and its witnesses


async def _published_log(address: Address, folder: DataFolder) -> AsyncIterator[Finding]:
    """Yield whether keys, published log and witnesses are there. Raises `Problem`, `BadPolicy`."""
    async with _connected(address) as connection:
        head = await ledger_store.head(connection)
        state, keys = await load.load_service_keys(connection), Keys(folder)
        keys.receipt_signers(state, head.size)
        vkeys = [each.verifier.format() for each in keys.checkpoint_signers(state, head.size)]
        yield Finding("the private keys that sign now are there")
        published = await _published_size(folder, head.size)
        # Asked again, for a service that runs has gone on meanwhile.
        yield published_log(published, head.size, (await ledger_store.head(connection)).size)
    policy = read_policy(folder.witnesses_policy, vkeys)
    for each in _witnesses(policy, FolderReader(folder.log).checkpoint()):
        yield each
    for witness in policy.witnesses:
        if witness.url:
            yield await _reached(witness.url)


async def _published_size(folder: DataFolder, size: int) -> int:
    """Return how many entries are published, at best `size`. Raises `MissingFile`, `BadNote`."""
    reader, began = FolderReader(folder.log), time.monotonic()
    while True:
        published = claimed_checkpoint(reader.checkpoint()).size
        if published >= size or time.monotonic() > began + PUBLISHING_SECONDS:
            return published
        await asyncio.sleep(0.1)


def published_log(published: int, size: int, size_afterwards: int) -> Finding:
    """Return how a published log stands to the ledger's size before and after it was read."""
    if published > size_afterwards:
        return Finding(
            f"the published log has {published} entries, and the database {size_afterwards}",
            "ahead",
            "stop the service and run kashi recover",
        )
    if published < size:
        return Finding(
            f"{size - published} of {size} entries are not in the published log",
            "log_behind",
            "start kashi serve; where it runs, its log says why (not_published)",
            can_wait=True,
        )
    return Finding(f"the published log has {published} entries")


def _witnesses(policy: TrustPolicy, note: bytes) -> Iterator[Finding]:
    """Yield which witnesses have cosigned the checkpoint that is shown."""
    if not policy.witnesses:
        yield Finding(
            "no witness cosigns this ledger",
            "no_witnesses",
            "ask others to run one, see docs/witnesses.md",
            can_wait=True,
        )
        return
    times = cosigning_times(note, (each.verifier for each in policy.witnesses))
    cosigned = {each.name for each in policy.witnesses if each.verifier.name in times}
    told = f"of {len(policy.witnesses)} witnesses {len(cosigned)} have cosigned what is shown"
    if policy.satisfied_by(cosigned):
        yield Finding(told)
    else:
        yield Finding(told, "no_quorum", "see which of them cannot be reached, and tell them")
    for each in policy.witnesses:
        if each.name not in cosigned:
            yield Finding(
                f"witness {each.name} has not cosigned what is shown",
                "not_cosigned",
                "the service's log says why (not_cosigned)",
                can_wait=True,
            )


async def _reached(url: str) -> Finding:
    """Return whether an address answers, and how long its certificate lasts."""
    parts = urlsplit(url)
    is_tls = parts.scheme == "https"
    context = ssl.create_default_context() if is_tls else None
    port = parts.port or (443 if is_tls else 80)
    try:
        async with asyncio.timeout(_HANDSHAKE_SECONDS):
            _, writer = await asyncio.open_connection(parts.hostname, port, ssl=context)
    except ssl.SSLCertVerificationError as error:
        remedy = "renew the certificate, or have the whole chain sent"
        return Finding(f"{url}: {error.verify_message}", "bad_certificate", remedy)
    except (OSError, TimeoutError) as error:
        told = f"{url} cannot be reached: {error.__class__.__name__}"
        return Finding(told, "unreachable", "see whether it runs, and who is between")
    certificate = writer.get_extra_info("peercert") or {}
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    if not is_tls:
        return Finding(f"{url} answers, without TLS")
    return certificate_until(url, ssl.cert_time_to_seconds(str(certificate["notAfter"])))


def certificate_until(
    whose: str,
    end: int,
    now: float | None = None,
    remedy: str = "renew it, and see why nothing did",
) -> Finding:
    """Return what it means that a certificate ends at an instant (seconds since 1970)."""
    days = int((end - (time.time() if now is None else now)) // DAY_SECONDS)
    told = f"{whose} has a certificate for {days} more days"
    if days < MIN_CERTIFICATE_DAYS:
        return Finding(told, "certificate_ends", remedy, can_wait=True)
    return Finding(told)


# Backups


def _newest_backup(folder: Path | None, now: float) -> Finding:
    """Return how old the newest backup is that came to its end."""
    if folder is None:
        return Finding(
            "nobody said where backups are",
            "backups_unnamed",
            "name their folder: kashi doctor --backups DIR",
            can_wait=True,
        )
    candidates = [folder, *folder.iterdir()] if folder.is_dir() else []
    whole = [each for each in candidates if _is_whole(each)]
    remedy = "run kashi backup, and see why nothing did"
    if not whole:
        return Finding(f"{folder} holds no whole backup", "no_backup", remedy)
    newest = max(whole, key=_made_at)
    hours = int((now - _made_at(newest)) // 3_600)
    told = f"the newest backup, {newest}, is {hours} hours old"
    if now - _made_at(newest) > MAX_BACKUP_SECONDS:
        return Finding(told, "backup_old", remedy)
    return Finding(told)


def _is_whole(backup: Path) -> bool:
    parts = (backup / DUMP, backup / "log" / CHECKPOINT)
    return all(each.is_file() for each in parts) and not (backup / UNFINISHED).exists()


def _made_at(backup: Path) -> float:
    return (backup / DUMP).stat().st_mtime
