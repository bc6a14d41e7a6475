"""A service behind an own CA, and behind a proxy that wants a certificate."""

import datetime as dt
import ipaddress
import ssl
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from meter.client import Service, Unreachable, trust


class Authority:
    """A CA that keeps its certificates in a folder."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = self._sign(name, self.key, is_ca=True)
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str) -> tuple[Path, Path]:
        """Return the files of a certificate and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate, secret = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        signed = self._sign(name, key, is_ca=False)
        certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
        secret.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return certificate, secret

    def _sign(self, name: str, key, *, is_ca: bool) -> x509.Certificate:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = dt.datetime.now(dt.UTC)
        identifier = x509.SubjectKeyIdentifier.from_public_key
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject if is_ca else self.certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
            .add_extension(identifier(key.public_key()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()),
                critical=False,
            )
            .add_extension(
                x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
                critical=False,
            )
            .sign(self.key, hashes.SHA256())
        )


@asynccontextmanager
async def guarded(server: tuple[Path, Path], clients: Path | None):
    """Serve over TLS, to those with a certificate of this CA where one is named."""

    async def answer(_: web.Request) -> web.Response:
        return web.json_response({"is": "there"})

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=clients)
    context.load_cert_chain(*server)
    if clients is not None:
        context.verify_mode = ssl.CERT_REQUIRED
    app = web.Application()
    app.add_routes([web.get("/v1/receipt-key", answer)])
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]
    yield f"https://127.0.0.1:{port}"
    await runner.cleanup()


async def asked(url: str, tls: ssl.SSLContext | None) -> dict:
    async with Service(url, tls=tls, attempts=1) as service:
        return await service.ask("/v1/receipt-key")


async def test_a_service_behind_an_own_ca_is_reached_with_it_and_not_without(tmp_path):
    own, other = Authority(tmp_path, "own"), Authority(tmp_path, "other")
    async with guarded(own.issue("server"), None) as url:
        assert await asked(url, trust(own.file, None, None)) == {"is": "there"}
        for tls in (None, trust(None, None, None), trust(other.file, None, None)):
            with pytest.raises(Unreachable, match="CERTIFICATE_VERIFY_FAILED"):
                await asked(url, tls)


async def test_a_proxy_that_wants_a_certificate_gets_it(tmp_path):
    own, other = Authority(tmp_path, "own"), Authority(tmp_path, "other")
    async with guarded(own.issue("server"), own.file) as url:
        assert await asked(url, trust(own.file, *own.issue("agent"))) == {"is": "there"}
        for files in ((None, None), other.issue("stranger")):
            with pytest.raises(Unreachable):
                await asked(url, trust(own.file, *files))


def test_a_file_that_holds_no_certificate_is_refused(tmp_path):
    file = tmp_path / "none.pem"
    with pytest.raises(OSError, match="No such file"):
        trust(file, None, None)
    file.write_text("nothing")
    with pytest.raises(OSError):  # noqa: PT011 - OpenSSL's words differ
        trust(file, None, None)
    with pytest.raises(OSError):  # noqa: PT011
        trust(None, file, file)
