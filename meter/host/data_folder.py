"""The files of a ledger, and the setting that the environment may hold.

DIR/log.key          signs checkpoints (0600), Go's PRIVATE+KEY text
DIR/log.vkey         its public half, for verifiers
DIR/receipt.key      signs receipts (0600), base64 of the seed
DIR/log-2.key, DIR/log-2.vkey, DIR/receipt-2.key, …  further ones: see `host.keys`
DIR/cursor.key       authenticates the cursors of pages (0600), base64 of 32 bytes; `serve` makes it
DIR/webhook.key      signs webhooks (0600), base64 of the seed; a leader makes it
DIR/<person>.token   a bearer token of a person of the authority (0600)
DIR/sign-in.toml     how people sign in to the pages, other than by links here: `host.sign_in_file`
DIR/alerts.toml      how alerts leave the service: `host.alerts_file`
DIR/*.secret         secrets that these two name (0600)
DIR/origin           the ledger's name
DIR/log/             the published log: see `ledger.publish`
DIR/witnesses.policy the witnesses that it needs (`ledger.quorum`), if any
DIR/postgres/        the embedded database, unless KASHI_DATABASE_URL names another
DIR/leader.sock      where the fronts of `kashi serve --fronts` reach their leader (0600)
DIR/cluster.key, DIR/cluster.pem, DIR/cluster-ca.pem, DIR/cluster-ca.key  see `host.cluster`
DIR/postgres.dsn     where the running embedded database listens, for commands beside `serve`
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ledger.files import close_to_others, make_private, open_private, set_rights

DATABASE_VARIABLE: Final = "KASHI_DATABASE_URL"
_GROUP_ENTERS: Final = 0o010
_GROUP_READS: Final = 0o050
_ALL_ENTER: Final = 0o011


@dataclass(frozen=True, slots=True)
class DataFolder:
    """The files of one ledger; all are their owner's alone.

    With `group_reads_log` the group may read `DIR/log`, and enter DIR: a web server that serves it.
    """

    path: Path
    group_reads_log: bool = False

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
    def cursor_key(self) -> Path:
        return self.path / "cursor.key"

    @property
    def webhook_key(self) -> Path:
        return self.path / "webhook.key"

    def token_of(self, person: str) -> Path:
        """Return the file with a token of a person of the authority."""
        return self.path / f"{person}.token"

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

    @property
    def leader_socket(self) -> Path:
        return self.path / "leader.sock"

    @property
    def cluster_key(self) -> Path:
        return self.path / "cluster.key"

    @property
    def cluster_certificate(self) -> Path:
        return self.path / "cluster.pem"

    @property
    def cluster_authority(self) -> Path:
        return self.path / "cluster-ca.pem"

    @property
    def cluster_authority_key(self) -> Path:
        return self.path / "cluster-ca.key"

    @property
    def signing_keys(self) -> list[Path]:
        """The private keys that sign checkpoints and receipts."""
        return sorted([*self.path.glob("log*.key"), *self.path.glob("receipt*.key")])

    def make(self) -> None:
        """Make the folder, or close it to others. Raises `BadFolder`."""
        make_private(self.path, self._passage())
        self.close_to_others(is_in_use=False)

    def close_to_others(self, *, is_in_use: bool) -> None:
        """Close to others what was open, but keep the rights that somebody needs.

        While a service has the folder in use, its log may be open to the group. Raises `BadFolder`.
        """
        if not self.path.is_dir():
            return
        needed = self._passage()
        close_to_others(self.path, needed | (_GROUP_ENTERS if is_in_use else 0))
        mode = self.path.stat().st_mode
        if mode & needed != needed:
            self.path.chmod(mode | needed)
        for pattern in ("*.key", "*.token", "*.secret", "postgres.dsn"):
            for file in self.path.glob(pattern):
                close_to_others(file)
        if not is_in_use:
            set_rights(self.log, group_reads=self.group_reads_log)
        elif self.log.is_dir():
            close_to_others(self.log, _GROUP_READS)

    def _passage(self) -> int:
        """Return the rights of others to enter the folder, without looking around in it.

        As root, another account runs an embedded database (`host.postgres`).
        """
        group = _GROUP_ENTERS if self.group_reads_log else 0
        return group | (_ALL_ENTER if os.geteuid() == 0 and database_url() is None else 0)

    def write_secret(self, file: Path, text: str) -> None:
        """Write a new file that only its owner can read."""
        with open_private(file, new=True) as stream:
            stream.write(f"{text}\n".encode())
            stream.flush()
            os.fsync(stream.fileno())


def database_url() -> str | None:
    """Return the database that the environment names, if any."""
    return os.environ.get(DATABASE_VARIABLE) or None
