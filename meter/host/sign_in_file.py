"""`DIR/sign-in.toml`: where browsers see the service, and who says which person they show.

    site = "https://kashi.example"    # an origin over HTTPS; without one, people sign in here alone
    links = false                     # whether `kashi person link` signs in at the site too

    [issuer]                          # an OpenID Connect provider
    url = "https://id.example/realm"
    client_id = "kashi"
    secret_file = "issuer.secret"     # beside this file, its owner's alone; it holds the secret
    algorithms = ["RS256"]            # of id tokens; these are the defaults: RS256, ES256

A service without the file takes links, on its own machine.
"""

import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct

from meter.host.sign_in import Entrance, is_loopback

FILE: Final = "sign-in.toml"
# Signatures by the issuer's own key; `none`, and a secret that we share, prove nothing.
Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "EdDSA"]
_Text = Annotated[str, Meta(min_length=1, max_length=500, pattern=r"^[!-~]+\Z")]
_ORIGIN: Final = re.compile(r"https://[a-z0-9.-]+(?::[0-9]{1,5})?")


@dataclass(frozen=True, slots=True)
class Issuer:
    """An OpenID Connect provider, and what we are there."""

    url: str
    client_id: str
    secret: str = field(repr=False)
    algorithms: tuple[Algorithm, ...]


class BadSignInFile(Exception):  # noqa: N818 - the name says what is wrong
    """The file does not say how people sign in."""


class _Issuer(Struct, frozen=True, forbid_unknown_fields=True):
    url: _Text
    client_id: _Text
    secret_file: _Text
    algorithms: list[Algorithm] = msgspec.field(default_factory=lambda: ["RS256", "ES256"])


class _File(Struct, frozen=True, forbid_unknown_fields=True):
    site: _Text = ""
    links: bool = False
    issuer: _Issuer | None = None


def read_sign_in(folder: Path) -> tuple[Entrance, Issuer | None]:
    """Return what a data folder says of signing in. Raises `BadSignInFile`."""
    path = folder / FILE
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Entrance(), None
    except (OSError, UnicodeDecodeError) as error:
        raise BadSignInFile(f"{path}: {error}") from None
    try:
        said = msgspec.convert(tomllib.loads(text), _File)
        return _entrance(said), None if said.issuer is None else _issuer(said.issuer, folder)
    except (tomllib.TOMLDecodeError, ValueError, OSError) as error:
        raise BadSignInFile(f"{path}: {error}") from None


def _entrance(said: _File) -> Entrance:
    if said.site and not _ORIGIN.fullmatch(said.site):
        raise ValueError('site is an origin such as "https://kashi.example", without a path')
    return Entrance(said.site, said.links)


def _issuer(said: _Issuer, folder: Path) -> Issuer:
    if not is_safe(said.url):
        raise ValueError("issuer.url begins with https://; http:// is for this machine alone")
    if not said.algorithms:
        raise ValueError("issuer.algorithms names none")
    secret = (folder / said.secret_file).read_text(encoding="ascii").strip()
    if not secret:
        raise ValueError("issuer.secret_file is empty")
    return Issuer(said.url, said.client_id, secret, tuple(said.algorithms))


def is_safe(url: str) -> bool:
    """Return whether what is sent to a URL reaches nobody else."""
    parts = urlsplit(url)
    return parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.netloc))
