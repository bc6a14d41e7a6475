"""Where an alert may go: URLs of webhooks, public addresses, addresses of mail."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final, Literal

from yarl import URL

from meter.values.problems import Problem

Means = Literal["webhook", "mail"]
Language = Literal["zh", "en"]

MAX_URL: Final = 500

_URL: Final = re.compile(r"[!-~]+")
_NAT64: Final = IPv6Network("64:ff9b::/96")  # RFC 6052 section 2.1
# What the WHATWG lets a browser's field take, in ASCII (HTML, section 4.10.5.1.5).
_MAIL: Final = re.compile(
    r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){0,8}"
)


@dataclass(frozen=True, slots=True)
class Choice:
    """What somebody chooses of a target, beside its address."""

    means: Means
    language: Language
    kinds: Collection[str]


def check_url(url: str, hosts: Collection[str]) -> None:
    """Raise `Problem` `bad_target` unless webhooks may be sent to a URL.

    What its name leads to is looked at when something is sent.
    """
    if len(url) > MAX_URL or not _URL.fullmatch(url):
        raise Problem("bad_target", f"a URL has at most {MAX_URL} visible characters of ASCII")
    try:
        parts = URL(url)  # what the connection is made by
        host = parts.host or ""
    except ValueError:
        raise Problem("bad_target", "this is no URL") from None
    if parts.scheme != "https" or not host or parts.port == 0:
        raise Problem("bad_target", "a webhook's URL begins with https:// and a host")
    if parts.user is not None or parts.password is not None or "#" in url:
        raise Problem("bad_target", "the URL holds a user, or a fragment")
    if host not in hosts and _is_address(host) and not is_public(host):
        raise Problem("bad_target", "this address is not public")


def is_public(address: str) -> bool:
    """Return whether an address belongs to the public network, also one that holds an IPv4 one."""
    found = ip_address(address.partition("%")[0])
    if isinstance(found, IPv6Address):
        inner = _inner(found)
        if inner is not None:
            return _is_public(inner)
        return "%" not in address and not found.is_site_local and _is_public(found)
    return _is_public(found)


def _inner(address: IPv6Address) -> IPv4Address | None:
    """Return the IPv4 address to which an IPv6 one leads: mapped, of NAT64, of 6to4."""
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    return address.is_global and not address.is_multicast and not address.is_reserved


def _is_address(host: str) -> bool:
    try:
        ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def check_mail(address: str) -> None:
    """Raise `Problem` `bad_target` for what is no address of mail."""
    if not is_mail(address):
        raise Problem("bad_target", "this is no address of mail")


def is_mail(address: str) -> bool:
    """Return whether a text has the form of an address of mail."""
    return _MAIL.fullmatch(address) is not None
