"""The rows of bearer tokens; a row holds the sha256 of a secret, never the secret."""

from collections.abc import Mapping

from meter.host.tokens import Identity, KnownToken
from meter.tables.connections import Connection
from meter.tables.write import _SQL
from meter.values.text import folded


async def token(connection: Connection, token_id: str) -> KnownToken | None:
    """Read a token."""
    row = await connection.fetchrow(_SQL["token"], token_id)
    if row is None:
        return None
    identity = Identity(token_id, row["role"], row["subject"])
    return KnownToken(identity, row["secret"], row["expires_at"], row["revoked"])


async def spelled_alike(connection: Connection, token_id: str) -> str | None:
    """Return the id of a token, or of one that people could take for it."""
    found = await connection.fetchval(_SQL["token_spelled_alike"], token_id, folded(token_id))
    return None if found is None else str(found)


async def is_for_registered(connection: Connection, identity: Identity) -> bool:
    """Return whether the ledger has the provider or enterprise that an identity is bound to."""
    if identity.subject == "":
        return True
    return bool(await connection.fetchval(_SQL["is_registered"], identity.role, identity.subject))


async def has_tokens(connection: Connection) -> bool:
    """Return whether a token was ever made."""
    return bool(await connection.fetchval(_SQL["has_tokens"]))


async def add_token(
    connection: Connection, identity: Identity, digest: bytes, expires_at: int | None = None
) -> None:
    """Keep a token; `digest` is the sha256 of its secret, `expires_at` in microseconds."""
    await connection.execute(
        _SQL["add_token"],
        identity.token_id,
        identity.role,
        identity.subject,
        digest,
        expires_at,
    )


async def note_used(connection: Connection, used: Mapping[str, int]) -> None:
    """Keep when tokens were last used, by id, in microseconds."""
    await connection.execute(_SQL["note_tokens_used"], list(used), list(used.values()))


async def revoke_token(connection: Connection, token_id: str) -> bool:
    """Revoke a token; return whether there was one to revoke."""
    return await connection.execute(_SQL["revoke_token"], token_id) == "UPDATE 1"
