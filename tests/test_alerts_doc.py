"""The examples of docs/alerts.md run: the check of a signature with curl and openssl."""

import asyncio
import base64
import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from meter.host.alerts_file import read_sending
from meter.publish import alerts as sender
from tests.alerts import receiving, wanting
from tests.programs import program
from tests.services import serving, until

PAGE = (Path(__file__).parents[1] / "docs/alerts.md").read_text(encoding="utf-8")


async def test_openssl_checks_a_webhook_as_the_page_says(database, tmp_path, monkeypatch):
    program("curl")
    program("openssl")
    monkeypatch.setattr(sender, "POLL_SECONDS", 0.02)
    (script,) = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    async with receiving(tmp_path) as receiver:
        files = {"alerts.toml": f'ca_file = "{receiver.ca}"\n[webhooks]\nhosts = ["127.0.0.1"]\n'}
        async with serving(database, tmp_path, files=files) as service:
            await wanting(service, "auditor", address=receiver.url())
            await service.ask("/v1/proposals", command="person", body={"id": "li"})
            service.clock.advance(1)
            await until(lambda: has_got(receiver))
            (got,) = receiver.got
            names = ("webhook-id", "webhook-timestamp", "webhook-signature")
            said = {name.upper().replace("-", "_"): got.headers[name] for name in names}
            (tmp_path / "body").write_bytes(got.body)
            good = await run(script, tmp_path, KASHI=service.url, **said)
            assert good.returncode == 0, good.stderr
            assert b"Verified Successfully" in good.stdout
            other = base64.b64encode(64 * b"x").decode()
            bad = await run(
                script, tmp_path, KASHI=service.url, **said | {"WEBHOOK_SIGNATURE": f"v1a,{other}"}
            )
            assert bad.returncode != 0


async def has_got(receiver):
    return bool(receiver.got)


async def run(script, folder, **variables):
    return await asyncio.to_thread(
        subprocess.run,
        ["bash", "-e", "-c", script],
        cwd=folder,
        env=os.environ | variables,
        capture_output=True,
        check=False,
    )


def test_the_operators_file_is_one(tmp_path):
    (text,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "alerts.toml").write_text(text)
    (tmp_path / "mail.secret").write_text("geheim\n")
    (tmp_path / "inside.pem").write_text("(a certificate)\n")
    said = read_sending(tmp_path)
    assert said.hosts == frozenset(tomllib.loads(text)["webhooks"]["hosts"])
    assert (said.mail.host, said.mail.secret) == ("smtp.example", "geheim")


@pytest.mark.parametrize("seconds", sender.DELAYS)
def test_the_page_names_each_delay(seconds):
    unit, name = next(
        (unit, name) for unit, name in ((3_600, "h"), (60, "min"), (1, "s")) if seconds >= unit
    )
    assert f"{seconds // unit} {name}" in PAGE
