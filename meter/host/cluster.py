"""Certificates of a cluster: by them a leader and the fronts of other machines know each other.

DIR/cluster-ca.key  signs certificates (0600); it stays with whoever sets machines up
DIR/cluster-ca.pem  its certificate: a peer is one of ours if this one has signed its own
DIR/cluster.key     this machine's key (0600)
DIR/cluster.pem     its certificate, which names the host that others reach it by

All are of Ed25519, and made by `kashi cluster cert`. A certificate says that a machine is of this
service, and no more: whoever holds one may hand in what it says that it has verified.
"""

import contextlib
import datetime as dt
import ipaddress
import shutil
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ledger.errors import LedgerError
from meter.host.data_folder import DataFolder
from meter.host.keys import cursor_key
from meter.host.sign_in_file import FILE as SIGN_IN

AUTHORITY_DAYS: Final = 3_650
MACHINE_DAYS: Final = 730
# A machine whose clock is a little behind takes a new certificate too.
_SLACK: Final = dt.timedelta(days=1)


class BadCertificate(LedgerError):  # noqa: N818 - the name says what is wrong
    """The files of a cluster are missing or spoilt, or do not belong together."""

    code = "bad_certificate"


@dataclass(frozen=True, slots=True)
class _Authority:
    key: Ed25519PrivateKey
    certificate: x509.Certificate


def make_certificate(folder: DataFolder, out: DataFolder, host: str, now: int) -> None:
    """Write a key and a certificate for the machine that others reach by `host` into `out`.

    The first one makes the authority in `folder` (`now` in seconds). Raises `BadCertificate`,
    `FileExistsError`.
    """
    authority = _authority(folder, _moment(now))
    key = Ed25519PrivateKey.generate()
    certificate = (
        _builder(host, key, _moment(now), MACHINE_DAYS)
        .issuer_name(authority.certificate.subject)
        .add_extension(x509.SubjectAlternativeName([_name_of(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage(
                [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
            ),
            critical=False,
        )
        .sign(authority.key, None)
    )
    out.write_secret(out.cluster_key, _text(key))
    _write(out.cluster_certificate, certificate)
    if out.cluster_authority != folder.cluster_authority:
        _write(out.cluster_authority, authority.certificate)


def make_machine(
    folder: DataFolder, out: DataFolder, host: str, now: int, *, may_lead: bool
) -> None:
    """Make the data folder of another machine: what it serves with, and its certificate.

    The keys that sign are in it if it `may_lead`. Raises `BadCertificate`, `Problem`,
    `FileExistsError`.
    """
    out.path.mkdir(mode=0o700)
    make_certificate(folder, out, host, now)
    cursor_key(folder)  # one for all, as a page may come from one machine and the next from another
    shared = [folder.origin, folder.cursor_key, folder.witnesses_policy, folder.path / SIGN_IN]
    files = [each for each in shared if each.exists()]
    files += [*folder.path.glob("log*.vkey"), *folder.path.glob("*.secret")]
    for file in [*files, *(folder.signing_keys if may_lead else ())]:
        shutil.copy2(file, out.path / file.name)


def leader_context(folder: DataFolder) -> ssl.SSLContext:
    """Return what a leader takes fronts by: those of its cluster only. Raises `BadCertificate`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    return _loaded(context, folder)


def front_context(folder: DataFolder) -> ssl.SSLContext:
    """Return what a front trusts a leader by, host included. Raises `BadCertificate`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return _loaded(context, folder)


@dataclass(frozen=True, slots=True)
class Standing:
    """Whom a machine's certificate names, and when it or its authority's ends (seconds)."""

    host: str
    ends: int


def examined(folder: DataFolder) -> Standing:
    """Return how the certificate of a machine stands.

    Raises `BadCertificate` where a machine of its cluster would not take it, as leader or as front.
    """
    server, client = leader_context(folder), front_context(folder)
    files = (folder.cluster_certificate, folder.cluster_authority)
    try:
        own, authority = (x509.load_pem_x509_certificate(each.read_bytes()) for each in files)
        names = own.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        host = str(next(iter(names)).value)
        _shake_hands(server, client, host)
    except (ValueError, StopIteration, x509.ExtensionNotFound, ssl.SSLError) as error:
        raise BadCertificate(f"no machine takes cluster.pem of {folder.path}: {error}") from None
    ends = min(each.not_valid_after_utc for each in (own, authority))
    return Standing(host, int(ends.timestamp()))


def _shake_hands(server: ssl.SSLContext, client: ssl.SSLContext, host: str) -> None:
    """Let two contexts verify one another, without a network. Raises `SSLError`."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [
        client.wrap_bio(to_client, to_server, server_hostname=host),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    while sides:
        for side in list(sides):
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
                sides.remove(side)


def _loaded(context: ssl.SSLContext, folder: DataFolder) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    try:
        context.load_cert_chain(folder.cluster_certificate, folder.cluster_key)
        context.load_verify_locations(folder.cluster_authority)
    except (OSError, ssl.SSLError) as error:
        raise BadCertificate(
            f"cluster.key, cluster.pem or cluster-ca.pem in {folder.path} is missing or spoilt "
            f"({error}): make them with kashi cluster cert"
        ) from None
    return context


def _authority(folder: DataFolder, now: dt.datetime) -> _Authority:
    """Return who signs the certificates of a cluster; the first call makes it."""
    if folder.cluster_authority_key.exists():
        return _read_authority(folder)
    if folder.cluster_authority.exists():
        raise BadCertificate(f"cluster-ca.key is not in {folder.path}, and its certificate is")
    key = Ed25519PrivateKey.generate()
    builder = _builder("kashi cluster", key, now, AUTHORITY_DAYS)
    certificate = (
        builder.issuer_name(_subject("kashi cluster"))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, None)
    )
    folder.write_secret(folder.cluster_authority_key, _text(key))
    _write(folder.cluster_authority, certificate)
    return _Authority(key, certificate)


def _read_authority(folder: DataFolder) -> _Authority:
    try:
        key = load_pem_private_key(folder.cluster_authority_key.read_bytes(), None)
        certificate = x509.load_pem_x509_certificate(folder.cluster_authority.read_bytes())
    except (OSError, ValueError):
        raise BadCertificate(
            f"cluster-ca.key or cluster-ca.pem in {folder.path} is spoilt"
        ) from None
    if not isinstance(key, Ed25519PrivateKey) or certificate.public_key() != key.public_key():
        raise BadCertificate(f"cluster-ca.key in {folder.path} is not that of cluster-ca.pem")
    return _Authority(key, certificate)


def _builder(
    name: str, key: Ed25519PrivateKey, now: dt.datetime, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(_subject(name))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SLACK)
        .not_valid_after(now + dt.timedelta(days=days))
    )


def _subject(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])


def _name_of(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _moment(seconds: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(seconds, dt.UTC)


def _text(key: Ed25519PrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode().strip()


def _write(file: Path, certificate: x509.Certificate) -> None:
    with file.open("xb") as stream:
        stream.write(certificate.public_bytes(Encoding.PEM))
