"""The files of a ledger, and the setting that the environment may hold.

DIR/log.key          signs checkpoints (0600), Go's PRIVATE+KEY text
DIR/log.vkey         its public half, for verifiers
DIR/receipt.key      signs receipts (0600), base64 of the seed
DIR/log-2.key, DIR/log-2.vkey, DIR/receipt-2.key, …  further ones: see `host.keys`
DIR/authority.token  the first bearer token of the authority (0600)
DIR/origin           the ledger's name
DIR/log/             the published log: see `ledger.publish`
DIR/witnesses.policy the witnesses that it needs (`ledger.quorum`), if any
DIR/postgres/        the embedded database, unless KASHI_DATABASE_URL names another
DIR/postgres.dsn     where the running embedded database listens, for commands beside `serve`
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

DATABASE_VARIABLE: Final = "KASHI_DATABASE_URL"


@dataclass(frozen=True, slots=True)
class DataFolder:
    """The files of one ledger."""

    path: Path

    @property
    def log_key(self) -> Path:
        return self.path / "log.key"

    @property
    def log_vkey(self) -> Path:
        return self.path / "log.vkey"

    @property
    def receipt_key(self) -> Path:
        return self.path / "receipt.key"

    @property
    def authority_token(self) -> Path:
        return self.path / "authority.token"

    @property
    def origin(self) -> Path:
        return self.path / "origin"

    @property
    def log(self) -> Path:
        return self.path / "log"

    @property
    def witnesses_policy(self) -> Path:
        return self.path / "witnesses.policy"

    @property
    def postgres(self) -> Path:
        return self.path / "postgres"

    @property
    def postgres_dsn(self) -> Path:
        return self.path / "postgres.dsn"

    def write_secret(self, file: Path, text: str) -> None:
        """Write a new file that only its owner can read."""
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text + "\n")
            stream.flush()
            os.fsync(stream.fileno())


def database_url() -> str | None:
    """Return the database that the environment names, if any."""
    return os.environ.get(DATABASE_VARIABLE) or None
