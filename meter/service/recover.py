"""Recovery: a database may go on only if it lacks nothing that others have seen.

    behind its log's folder   rolled forward (`service.roll_forward`), be it empty or of a backup
    without a folder          refused, for nothing shows what is lacking; but where a checkpoint
                              from outside shows that nothing is, the folder is written again

A ledger may never have two histories under one name. So a database that is behind, and has no
folder, cannot go on: its origin is lost.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass

from ledger import store as ledger_store
from ledger.errors import BadFolder, BadKey, BadNote, LedgerError, MissingFile
from ledger.files import DISK
from ledger.folder import FolderReader
from ledger.note import Checkpoint, Verifier, claimed_checkpoint, open_note
from ledger.progress import Progress
from ledger.publish import OtherRoot
from ledger.store import Head
from ledger.tlog import Frontier, leaf_hash
from meter.host.data_folder import DataFolder
from meter.host.keys import Keys
from meter.host.tokens import Identity, new_token
from meter.publish.export import export
from meter.publish.log_folder import LogMissing
from meter.service.roll_forward import roll_forward
from meter.tables import connections, load, sign_ins, tokens, write
from meter.tables.sessions import Address


class OriginLost(LedgerError):  # noqa: N818 - the name says what is wrong
    """Entries that others have seen are gone, and with them this ledger."""

    code = "origin_lost"


@dataclass(frozen=True, slots=True)
class Recovered:
    """How many entries the database held, and where it ends now.

    `renewed` are the persons who got a new secret (`DIR/<person>.token`): there was no token.
    """

    before: int
    head: Head
    renewed: Sequence[str] = ()


async def recover(
    address: Address, folder: DataFolder, progress: Progress | None = None
) -> Recovered:
    """Bring the database forward to the folder's checkpoint, if it is behind.

    `progress` gets entries done and total. Raises `LogMissing` without a folder, `BadNote` where
    none of our keys has signed its checkpoint, `OtherRoot` where the database is of another
    history, and what `roll_forward` raises.
    """
    reader = FolderReader(folder.log)
    checkpoint = _open_checkpoint(_note(folder), own_keys(folder))
    await _make_tables(address)
    connection = await connections.connect(address, writer=True)
    try:
        before = await ledger_store.head(connection)
        if before.size < checkpoint.size:
            await roll_forward(connection, reader, checkpoint, progress)
        else:
            await _check_holds(connection, checkpoint)
        head = await ledger_store.head(connection)
        has_tokens = await tokens.has_tokens(connection)
        renewed = [] if has_tokens else await _renew_tokens(connection, folder)
        # A backup's would be open again, those too that have ended since.
        await sign_ins.end_sessions(connection, sign_ins.ALL, head.last_at)
    finally:
        await connection.close()
    return Recovered(before.size, head, renewed)


async def publish_again(
    address: Address, folder: DataFolder, note: bytes, progress: Progress | None = None
) -> Head:
    """Write a lost folder again, where a checkpoint from outside proves the database whole.

    Raises `BadFolder` where there is one, `BadNote`, `OtherRoot`, and `OriginLost` where the
    database is behind that checkpoint.
    """
    if folder.log.exists() and any(folder.log.iterdir()):
        raise BadFolder(f"{folder.log} holds something: recover without a checkpoint, or move it")
    await _check_whole(address, _open_checkpoint(note, own_keys(folder)))
    draft = folder.log.with_suffix(".new")
    shutil.rmtree(draft, ignore_errors=True)
    head = await export(address, Keys(folder), draft, progress)
    DISK.rename(draft, folder.log)
    DISK.sync_folder(folder.path)
    return head


def own_keys(folder: DataFolder) -> list[Verifier]:
    """Read the public log keys of a data folder. Raises `BadKey`."""
    files = sorted(folder.path.glob("log*.vkey"))
    if not files:
        raise BadKey(f"{folder.log_vkey} is missing: bring back the files of the keys first")
    return [Verifier.parse(file.read_text(encoding="utf-8").strip()) for file in files]


def _note(folder: DataFolder) -> bytes:
    try:
        return FolderReader(folder.log).checkpoint()
    except MissingFile:
        raise LogMissing(folder.log) from None


def _open_checkpoint(note: bytes, trusted: Sequence[Verifier]) -> Checkpoint:
    """Return a checkpoint that one of our keys has signed; entries may ask for more of them."""
    open_note(note, trusted)
    checkpoint = claimed_checkpoint(note)
    if checkpoint.origin not in {key.name for key in trusted}:
        raise BadNote(f"the checkpoint is of {checkpoint.origin!r:.200}")
    return checkpoint


async def _make_tables(address: Address) -> None:
    """Make an empty ledger where there is none."""
    connection = await connections.connect(address, owner=True)
    try:
        await ledger_store.check_server(connection)
        if not await ledger_store.exists(connection):
            await ledger_store.make_roles(connection, address.roles)
            await write.create(connection, address.roles)
    finally:
        await connection.close()


async def _check_whole(address: Address, checkpoint: Checkpoint) -> None:
    connection = await connections.connect(address)
    try:
        head = await ledger_store.head(connection)
        if head.size < checkpoint.size:
            raise OriginLost(
                f"the database holds {head.size} entries, and {checkpoint.size} were published: "
                f"without a copy of its folder, {checkpoint.origin} cannot go on. Begin a new "
                "ledger under a new origin: kashi init --data NEW --origin OTHER"
            )
        await _check_holds(connection, checkpoint)
    finally:
        await connection.close()


async def _check_holds(connection: connections.Connection, checkpoint: Checkpoint) -> None:
    """Hash the entries again up to a published size."""
    frontier = Frontier()
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        async for _, data in ledger_store.entries(connection, 0, checkpoint.size):
            frontier.append(leaf_hash(data))
    if (frontier.size, frontier.root()) != (checkpoint.size, checkpoint.root):
        raise OtherRoot(f"the database's first {checkpoint.size} entries are not those published")


async def _renew_tokens(connection: connections.Connection, folder: DataFolder) -> list[str]:
    """Make a secret for the newest token of each person, and return the persons.

    Entries say which tokens have ended, so none of those comes back.
    """
    people = await load.load_people(connection)
    newest = {person: people.tokens_of(person)[-1:] for person in people.active()}
    for person, names in newest.items():
        for name in names:
            await renew_token(connection, folder, name, person)
    return [person for person, names in newest.items() if names]


async def renew_token(
    connection: connections.Connection, folder: DataFolder, token_id: str, person: str
) -> None:
    """Make the secret of a token that the ledger names, in the file of its person."""
    token = new_token(token_id)
    await tokens.add_token(connection, Identity(token.id, "authority"), token.digest)
    folder.token_of(person).unlink(missing_ok=True)
    folder.write_secret(folder.token_of(person), token.text)
