"""The provider's commands: `kashi provider keygen`, `sign` and `post`."""

import json
from pathlib import Path
from typing import Any

import click

from meter.cli.common import FILE, checked, main, run_async


@main.group()
def provider() -> None:
    """For computing providers: make a key, sign a batch, post it."""


@provider.command()
@click.option("--log", required=True, help="The ledger's name (its origin).")
@click.option("--provider", "name", required=True, help="The provider's id in the ledger.")
@click.option("--keyid", required=True, help="The name under which the key is registered.")
@click.argument("file", type=click.Path(path_type=Path))
def keygen(log: str, name: str, keyid: str, file: Path) -> None:
    """Write a new Ed25519 key to FILE (0600) and print what the authority posts to register it.

    That is a line of JSON: the public half, and the key's proof for this ledger, provider and name.
    """
    from meter import client  # noqa: PLC0415

    click.echo(json.dumps(checked(lambda: client.keygen(file, log, name, keyid))))


@provider.command()
@click.option("--key", required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--keyid", required=True, help="The name under which the key is registered.")
@click.argument("batch", type=click.File("rb"))
def sign(key: Path, keyid: str, batch: Any) -> None:
    """Sign the batch in the file BATCH (- for standard input) and print its envelope."""
    from meter import client  # noqa: PLC0415

    click.echo(checked(lambda: client.sign_payload(batch.read(), keyid, client.load_key(key))))


@provider.command()
@click.option("--receipt-key", help="The service's receipt key (base64): check the signature.")
@click.option("--keep", type=FILE, help="Keep batch and receipt in this file (`kashi receipt`).")
@click.option("--token", "bearer", envvar="KASHI_TOKEN", help="A provider's, to keep a proof too.")
@click.argument("url")
@click.argument("envelope", type=click.File("rb"))
def post(
    receipt_key: str | None, keep: Path | None, bearer: str | None, url: str, envelope: Any
) -> None:
    """Post a signed envelope to the service at URL and print the receipt."""
    from meter import client  # noqa: PLC0415

    data = envelope.read()
    answer = run_async(lambda: client.post(url, data, receipt_key))
    click.echo(answer.body)
    click.echo(f"Kashi-Signature: {answer.signature}", err=True)
    if keep is not None:
        from meter.auditor import receipts  # noqa: PLC0415 - slow to import, needed only here

        checked(lambda: receipts.keep(keep, data, answer))
        if bearer is not None:
            run_async(lambda: receipts.prove(url, keep, bearer))
