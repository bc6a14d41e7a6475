"""`DIR/alerts.toml`: how alerts leave the service.

    ca_file = "inside.pem"            # beside this file; trusted beside the system's authorities

    [webhooks]
    hosts = ["hooks.inside.example"]  # may have private addresses; all others must be public

    [mail]
    host = "smtp.example"             # without this section no alert goes by mail
    port = 587
    security = "starttls"             # or "tls", or "none" for a relay on this machine
    sender = "kashi@example"
    user = "kashi"                    # with a secret, beside this file and its owner's alone
    secret_file = "mail.secret"

A service without the file sends webhooks to public addresses, and no mail.
"""

import ssl
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from meter.host.destinations import is_mail
from meter.host.sign_in import is_loopback

FILE: Final = "alerts.toml"
Security = Literal["tls", "starttls", "none"]
_Text = Annotated[str, Meta(min_length=1, max_length=500, pattern=r"^[!-~]+\Z")]


class BadAlertsFile(Exception):  # noqa: N818 - the name says what is wrong
    """The file does not say how alerts are sent."""


@dataclass(frozen=True, slots=True)
class MailServer:
    """Where mail is handed over, and as whom."""

    host: str
    port: int
    security: Security
    sender: str
    user: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Sending:
    """How alerts leave: `hosts` may have any address; `ca` is a PEM of more authorities."""

    hosts: frozenset[str] = frozenset()
    ca: str = ""
    mail: MailServer | None = None

    def tls(self) -> ssl.SSLContext:
        """Return what others' certificates are checked by."""
        context = ssl.create_default_context()
        if self.ca:
            context.load_verify_locations(cadata=self.ca)
        return context


class _Webhooks(Struct, frozen=True, forbid_unknown_fields=True):
    hosts: list[_Text] = []


class _Mail(Struct, frozen=True, forbid_unknown_fields=True):
    host: _Text
    sender: _Text
    port: Annotated[int, Meta(ge=1, le=65_535)] = 587
    security: Security = "starttls"
    user: _Text = ""
    secret_file: _Text = ""


class _File(Struct, frozen=True, forbid_unknown_fields=True):
    ca_file: _Text | Literal[""] = ""
    webhooks: _Webhooks = _Webhooks()
    mail: _Mail | None = None


def read_sending(folder: Path) -> Sending:
    """Return what a data folder says of alerts. Raises `BadAlertsFile`."""
    path = folder / FILE
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Sending()
    except (OSError, UnicodeDecodeError) as error:
        raise BadAlertsFile(f"{path}: {error}") from None
    try:
        said = msgspec.convert(tomllib.loads(text), _File)
        ca = said.ca_file and (folder / said.ca_file).read_text(encoding="ascii")
        hosts = frozenset(each.lower() for each in said.webhooks.hosts)
        return Sending(hosts, ca, None if said.mail is None else _mail(said.mail, folder))
    except (tomllib.TOMLDecodeError, ValueError, OSError) as error:
        raise BadAlertsFile(f"{path}: {error}") from None


def _mail(said: _Mail, folder: Path) -> MailServer:
    if not is_mail(said.sender):
        raise ValueError("mail.sender is no address")
    if said.security == "none" and not is_loopback(said.host):
        raise ValueError('mail.security = "none" is for this machine alone')
    if bool(said.user) != bool(said.secret_file):
        raise ValueError("mail.user and mail.secret_file belong together")
    secret = ""
    if said.secret_file:
        secret = (folder / said.secret_file).read_text(encoding="utf-8").strip()
    return MailServer(said.host, said.port, said.security, said.sender, said.user, secret)
