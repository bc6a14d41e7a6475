"""nginx serves the published log as the service does, and the service's other URLs too.

It runs as `deploy/nginx.conf` says: only ports, certificate and the folder are put in.
"""

import asyncio
import contextlib
import http.client
import ipaddress
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ledger.tiles import level_tiles, tiles_of
from meter.host.data_folder import DATABASE_VARIABLE
from meter.host.tokens import Identity
from meter.service import admin as running
from tests.books import ALPHA, record
from tests.interop.programs import need
from tests.services import HOUR, Answer, Service, serving

REPOSITORY = Path(__file__).parents[2]
CONFIGURATION = REPOSITORY / "deploy/nginx.conf"
KASHI = Path(sys.executable).parent / "kashi"

# Everything around the servers, as a package brings it.
MAIN = """\
daemon off;
{user}
pid {home}/pid;
events {{ }}
http {{
    access_log {home}/access.log;
    client_body_temp_path {home}/body;
    proxy_temp_path {home}/proxied;
    fastcgi_temp_path {home}/fastcgi;
    uwsgi_temp_path {home}/uwsgi;
    scgi_temp_path {home}/scgi;
    include {home}/kashi.conf;
}}
"""


@dataclass(frozen=True)
class Front:
    """nginx, and the service behind it; `tokens` are headers by role."""

    service: Service
    port: int
    certificate: Path
    errors: Path
    tokens: dict[str, str]
    size: int

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    async def ask(
        self,
        path: str,
        role: str | None = None,
        method: str = "GET",
        body: bytes | None = None,
        **headers: str,
    ) -> Answer:
        """Send a request whose path nobody normalizes."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if role is not None:
            named["Authorization"] = self.tokens[role]
        return await asyncio.to_thread(self._ask, method, path, body, named)

    def _ask(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> Answer:
        context = ssl.create_default_context(cafile=self.certificate)
        connection = http.client.HTTPSConnection(
            "127.0.0.1", self.port, timeout=10, context=context
        )
        with contextlib.closing(connection):
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())

    def tiles(self) -> list[str]:
        """The paths of all files but the checkpoint."""
        tiles = [*tiles_of(self.size), *level_tiles("batches", self.size)]
        return [f"/log/{tile.path}" for tile in tiles]


@asynccontextmanager
async def fronted(
    database: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Front]:
    """Run nginx before a service with a full tile and partial ones."""
    need("nginx", program())
    monkeypatch.setenv(DATABASE_VARIABLE, database)
    async with serving(database, folder) as service:
        await service.open_books()
        for seq in range(1, 31):
            records = [record(f"r{seq}:{n}", "A", *HOUR, 100) for n in range(9)]
            assert (await service.usage(records, seq=seq)).status == 200
        tokens = {
            identity.role: f"Bearer {await running.add_token(service.folder, identity)}"
            for identity in (
                Identity("auditor", "auditor"),
                Identity("provider", "provider", "pcl"),
                Identity("enterprise", "enterprise", ALPHA),
            )
        }
        size = await service.published()
        assert size > 256
        certificate = make_certificate(folder)
        home = folder / "nginx"
        with nginx(home, service, certificate) as port:
            yield Front(service, port, certificate, home / "error.log", tokens, size)


def program() -> str | None:
    return shutil.which("nginx", path=f"{os.environ['PATH']}{os.pathsep}/usr/sbin")


@contextlib.contextmanager
def nginx(home: Path, service: Service, certificate: Path):
    """Run it on a free port."""
    home.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (home / "kashi.conf").write_text(adapted(service, port, certificate))
    # As root it would look into our folders as somebody else.
    user = "user root;" if os.geteuid() == 0 else ""
    (home / "nginx.conf").write_text(MAIN.format(home=home, user=user))
    process = subprocess.Popen(
        [program(), "-p", home, "-c", home / "nginx.conf", "-e", home / "error.log"],
    )
    try:
        wait_for(port, process, home / "error.log")
        yield port
    finally:
        process.terminate()
        process.wait(10)


def adapted(service: Service, port: int, certificate: Path) -> str:
    """Put into the configuration what its first lines ask for."""
    text = CONFIGURATION.read_text()
    for old, new in {
        "127.0.0.1:8080;": f"{urlsplit(service.url).netloc};",
        "listen 443 ssl;": f"listen 127.0.0.1:{port} ssl;",
        "/etc/ssl/kashi/certificate.pem": str(certificate),
        "/etc/ssl/kashi/key.pem": str(certificate),
        "root /var/lib/kashi;": f"root {service.folder.path};",
    }.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


def wait_for(port: int, process: subprocess.Popen, errors: Path) -> None:
    for _ in range(500):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.02)
            break
    pytest.fail(f"nginx does not listen: {errors.read_text()}")


def make_certificate(folder: Path) -> Path:
    """Sign a certificate of this machine by itself; the file also holds the key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kashi.example")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    file = folder / "certificate.pem"
    file.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return file


async def verify(front: Front, role: str | None) -> subprocess.CompletedProcess[str]:
    token = [] if role is None else ["--token", front.tokens[role].removeprefix("Bearer ")]
    return await asyncio.to_thread(
        subprocess.run,
        [KASHI, "verify", f"{front.url}/log", "--vkey", front.service.folder.log_vkey, *token],
        env=os.environ | {"SSL_CERT_FILE": str(front.certificate)},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture
async def front(database, tmp_path, monkeypatch):
    async with fronted(database, tmp_path, monkeypatch) as front:
        yield front


async def test_an_auditor_verifies_the_log_that_nginx_serves_and_nobody_else_can(front):
    result = await verify(front, "auditor")
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"{front.size} entries" in result.stdout
    for role in (None, "provider"):
        result = await verify(front, role)
        assert (result.returncode, "wants a token of an auditor" in result.stderr) == (2, True)


# These may differ: one rounds a file's time up, the other down, and each makes its own names.
OWN = {"date", "server", "connection", "etag", "last-modified"}


def comparable(answer: Answer) -> tuple[int, bytes, dict[str, str]]:
    headers = {k: v for k, v in answer.headers.items() if k.lower() not in OWN}
    return answer.status, answer.body, headers


async def test_every_file_is_answered_as_the_service_answers_it(front):
    for path in ("/log/checkpoint", *front.tiles()):
        for method in ("GET", "HEAD"):
            token = front.tokens["auditor"]
            ours = await front.service.send(method, path, Authorization=token)
            theirs = await front.ask(path, "auditor", method)
            assert ours.status == 200
            assert comparable(theirs) == comparable(ours), (method, path)


async def test_a_tile_that_is_known_is_not_sent_again_and_parts_of_one_are(front):
    for path in front.tiles():
        tag = (await front.ask(path, "auditor")).headers["ETag"]
        assert (await front.ask(path, "auditor", If_None_Match=tag)).status == 304
        part = await front.ask(path, "auditor", Range="bytes=0-1")
        assert (part.status, len(part.body)) == (206, 2)


async def test_a_checkpoint_is_never_taken_for_the_one_before_it(front):
    """Two within a second may have one length and one date."""
    known = (front.service.folder.log / "checkpoint").stat()
    for headers in (
        {"If_None_Match": f'"{int(known.st_mtime):x}-{known.st_size:x}"'},
        {"If_Modified_Since": formatdate(known.st_mtime, usegmt=True)},
        {"Range": "bytes=0-1"},
    ):
        answer = await front.ask("/log/checkpoint", **headers)
        assert answer.status == 200
        assert answer.body == (front.service.folder.log / "checkpoint").read_bytes()
        assert not {"ETag", "Last-Modified", "Accept-Ranges"} & set(answer.headers)


async def test_entries_are_for_officials_from_one_request_to_the_next(front):
    private = [path for path in front.tiles() if re.match("/log/(tile/entries|batches)/", path)]
    assert len(private) == 4
    for path in private:
        nobody = await front.ask(path)
        assert (nobody.status, nobody.headers["WWW-Authenticate"]) == (401, "Bearer")
        assert (await front.ask(path, Authorization="Bearer auditor.x")).status == 401
        assert (await front.ask(path, "provider")).status == 403
        assert (await front.ask(path, "enterprise")).status == 403
        # All other headers are about the file, and do not concern the service.
        for headers in ({"If_None_Match": "*"}, {"Range": "bytes=0-1"}, {"Content_Encoding": "br"}):
            answer = await front.ask(path, "auditor", **headers)
            assert answer.status in (200, 206, 304), headers
        assert (await front.ask(path, "auditor", body=b"x" * 100)).status == 200
    assert {(await front.ask(path, "provider")).status for path in front.tiles()} == {200, 403}
    await running.revoke_token(front.service.folder, "auditor")
    assert {(await front.ask(path, "auditor")).status for path in private} == {401}


async def test_what_is_no_published_file_is_not_served(front):
    log, secret = front.service.folder.log, front.tokens["auditor"]
    drafts = ["checkpoint.tmp", "tile/0/001.tmp", "tile/entries/000.tmp", "batches/000.tmp"]
    for name in (*drafts, "tile/notes", "notes"):
        (log / name).write_text(secret)
    (front.service.folder.path / "notes").write_text(secret)
    for path in (
        *(f"/log/{draft}" for draft in drafts),
        *("/log/", "/log", "/log/tile/", "/log/tile/0/", "/log/tile/0/001.p/", "/log/batches/"),
        *("/log/tile/0/001.p", "/log/tile/0/000/", "/log/tile/entries", "/log/tile/notes"),
        *("/log/notes", "/notes", "/log.vkey", "/log.key", "/log/../notes", "/log/%2e%2e/notes"),
        *("/log/..%2fnotes", "/log/tile/0/..%2f..%2f..%2fnotes", "//notes", "/log//../notes"),
        *("/log/tile/0/%2e%2e/notes", "/log/tile/0/000%2f..%2f..%2fnotes", "/log/tile/0/000%00"),
        *("/log/../../../../../etc/passwd", "/log/tile/0/000%0a", "/LOG/checkpoint"),
        *("/log/tile/0/002", "/log/tile/9/000", "/log/tile/0/000.p/007", "/log/tile/0/x000/000"),
        *("/log/allowed", "/log/tile/entries/002", "/log/batches/002", f"/log/tile/0/000.p/{9}"),
    ):
        answer = await front.ask(path, "auditor")
        assert answer.status in (400, 404), path
        assert secret.encode() not in answer.body, path
        assert "Cache-Control" not in answer.headers, path
    assert "No such file" not in front.errors.read_text()


async def test_files_are_read_and_nothing_else(front):
    for path in ("/log/checkpoint", *front.tiles()):
        for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND"):
            assert (await front.ask(path, "auditor", method)).status == 405, (method, path)
    assert (front.service.folder.log / "checkpoint").is_file()


async def test_without_the_service_checkpoint_and_hashes_are_still_served_and_no_entries(front):
    await front.service.stop()
    assert (await front.ask("/log/checkpoint")).status == 200
    for path in front.tiles():
        public = re.match("/log/tile/[0-7]/", path)
        answer = await front.ask(path, "auditor")
        assert answer.status == 200 if public else answer.status >= 500, path


async def test_all_else_is_the_services_own(front):
    assert (await front.ask("/readyz")).status == 200
    assert (await front.ask("/v1/pools")).headers["Content-Type"] == "application/problem+json"
    records = [record(f"big:{n}", "A", *HOUR, 1_000, run="x" * 128) for n in range(5_000)]
    envelope = front.service.envelope(records, seq=31)
    assert len(envelope) > 1024 * 1024  # the default limit of nginx
    url, context = front.url, ssl.create_default_context(cafile=front.certificate)
    async with front.service.http.get(
        f"{url}/v1/events", headers={"Last-Event-ID": str(front.size - 1)}, ssl=context
    ) as events:
        async with front.service.http.post(f"{url}/v1/usage", data=envelope, ssl=context) as posted:
            assert posted.status == 200, await posted.read()
        async with asyncio.timeout(10):
            told = await events.content.readuntil(b"event: entry\n")
        assert told.endswith(b"event: entry\n")


def test_the_page_shows_the_vital_part_of_the_configuration():
    page = (REPOSITORY / "docs/web-servers.md").read_text()
    (shown,) = re.findall(r"^```nginx\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert textwrap.indent(shown, "    ") in CONFIGURATION.read_text()
    assert "auth_request" in shown
