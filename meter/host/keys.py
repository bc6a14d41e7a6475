"""The service's private keys, and who signs what with them.

DIR/log.key, DIR/log-2.key, …          sign checkpoints (0600), Go's PRIVATE+KEY text
DIR/log.vkey, DIR/log-2.vkey, …        their public halves, for verifiers
DIR/receipt.key, DIR/receipt-2.key, …  sign receipts (0600), base64 of the seed

The ledger says which keys must sign (`rules.state.ServiceKey`); a private key is found by its
public half, whatever the name of its file. The files are read again where a needed key is missing,
so a running service takes up a new key.
"""

import base64
import re
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger.errors import BadKey
from ledger.note import Checkpoint, Signer, sign
from meter.host.data_folder import DataFolder
from meter.rules.commands import AddLogKey, AddReceiptKey, Command, RetireLogKey
from meter.rules.state import State, signing
from meter.values.problems import Problem
from meter.wire.dsse import ReceiptSigner, decode_base64

K = TypeVar("K")

CURSOR_KEY_BYTES: Final = 32

_NUMBERED: Final = re.compile(r"(?:log|receipt)-([1-9][0-9]{0,8})\.key")


class Keys:
    """The private keys of a data folder, read when they are needed."""

    def __init__(self, folder: DataFolder) -> None:
        self._folder = folder
        self._log: dict[str, Signer] = {}  # by vkey
        self._receipt: dict[str, Ed25519PrivateKey] = {}  # by the base64 of the public key

    def receipt_signers(self, state: State, number: int) -> list[ReceiptSigner]:
        """Return the signers of the receipt of a batch with this number, the oldest first.

        Raises `Problem` `key_not_here`.
        """
        return [
            ReceiptSigner(keyid, self.receipt_key(key.public_key))
            for keyid, key in signing(state.receipt_keys, number).items()
        ]

    def checkpoint_signers(self, state: State, size: int) -> list[Signer]:
        """Return the signers of the checkpoint of this size, the oldest first.

        Raises `Problem` `key_not_here`.
        """
        return [self.log_key(vkey) for vkey in signing(state.log_keys, size)]

    def checkpoint(self, state: State, size: int, root: bytes) -> bytes:
        """Sign a size and its root. Raises `Problem` `key_not_here`."""
        assert state.genesis is not None, "entry 0 comes first"
        text = Checkpoint(state.genesis.origin, size, root).format()
        return sign(text, *self.checkpoint_signers(state, size))

    def log_key(self, vkey: str) -> Signer:
        """Return the private half of a log key. Raises `Problem` `key_not_here`."""
        return self._find(self._log, vkey)

    def receipt_key(self, public_key: str) -> Ed25519PrivateKey:
        """Return the private half of a receipt key. Raises `Problem` `key_not_here`."""
        return self._find(self._receipt, public_key)

    def check_private_key(self, command: Command) -> None:
        """Raise `Problem` `key_not_here` for a new key that could not sign after its entry."""
        if isinstance(command, AddLogKey):
            self.log_key(command.vkey)
        if isinstance(command, AddReceiptKey):
            self.receipt_key(command.public_key)

    def last_checkpoint(self, command: Command, state: State, size: int, root: bytes) -> str:
        """Return what a log key signs last, where a command retires one; else nothing."""
        if not isinstance(command, RetireLogKey):
            return ""
        return self.checkpoint(state, size, root).decode()

    def _find(self, known: dict[str, K], public: str) -> K:
        if public not in known:
            self._read()
        if public not in known:
            raise Problem("key_not_here", f"no file holds the private half of {public}")
        return known[public]

    def _read(self) -> None:
        for file in self._folder.path.glob("log*.key"):
            signer = _parse_file(file, Signer.parse)
            self._log[signer.verifier.format()] = signer
        for file in self._folder.path.glob("receipt*.key"):
            key = _parse_file(file, _receipt_key)
            self._receipt[public_text(key)] = key


def new_log_key(folder: DataFolder, origin: str) -> str:
    """Make a log key beside the others; return its vkey."""
    signer = Signer.from_seed(origin, secrets.token_bytes(32))
    file = _write(folder, "log", signer.format)
    vkey = signer.verifier.format()
    file.with_suffix(".vkey").write_text(vkey + "\n", encoding="utf-8")
    return vkey


def new_receipt_key(folder: DataFolder) -> tuple[Path, str]:
    """Make a receipt key beside the others; return its file and the base64 of its public half."""
    key = Ed25519PrivateKey.generate()
    file = _write(folder, "receipt", lambda: base64.b64encode(key.private_bytes_raw()).decode())
    return file, public_text(key)


def cursor_key(folder: DataFolder) -> bytes:
    """Return the key of the cursors; the first process of a data folder makes it.

    Raises `Problem` `key_not_here` where its file is spoilt. Who removes it loses open pages only.
    """
    if not folder.cursor_key.exists():
        text = base64.b64encode(secrets.token_bytes(CURSOR_KEY_BYTES)).decode()
        with suppress(FileExistsError):  # another process was faster
            folder.write_secret(folder.cursor_key, text)
    return _parse_file(folder.cursor_key, _cursor_key)


def webhook_key(folder: DataFolder) -> Ed25519PrivateKey:
    """Return the key that signs webhooks; the first leader of a data folder makes it.

    Raises `Problem` `key_not_here` where its file is spoilt. Who removes it has a new one made,
    which receivers have to fetch.
    """
    if not folder.webhook_key.exists():
        text = base64.b64encode(secrets.token_bytes(32)).decode()
        with suppress(FileExistsError):  # another leader was faster
            folder.write_secret(folder.webhook_key, text)
    return _parse_file(folder.webhook_key, _receipt_key)


def public_text(key: Ed25519PrivateKey) -> str:
    """Return the base64 of the public half, as entries name it."""
    return base64.b64encode(key.public_key().public_bytes_raw()).decode()


def _write(folder: DataFolder, kind: str, secret: Callable[[], str]) -> Path:
    """Write a secret under the next number; the first key has none in its name."""
    matches = (_NUMBERED.fullmatch(file.name) for file in folder.path.glob(f"{kind}-*.key"))
    last = max((int(match[1]) for match in matches if match), default=1)
    file = folder.path / f"{kind}-{last + 1}.key"
    folder.write_secret(file, secret())
    return file


def _receipt_key(text: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(decode_base64(text))


def _cursor_key(text: str) -> bytes:
    key = decode_base64(text)
    if len(key) != CURSOR_KEY_BYTES:
        raise ValueError("not a key of a cursor")
    return key


def _parse_file(file: Path, parse: Callable[[str], K]) -> K:
    try:
        return parse(file.read_text(encoding="utf-8").strip())
    except (OSError, ValueError, BadKey):
        # The cause could repeat the secret.
        raise Problem("key_not_here", f"{file.name} cannot be read, or holds no key") from None
