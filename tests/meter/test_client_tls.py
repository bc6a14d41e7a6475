"""A service behind an own CA, and behind a proxy that wants a certificate."""

import ssl
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from meter.client import Service, Unreachable, trust
from tests.certificates import Authority


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
