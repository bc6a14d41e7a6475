"""The witness's commands: `kashi witness`, `kashi witness init` and `kashi witness trust`."""

import logging
import time
from pathlib import Path

import click

from meter.cli.common import DATA, checked, main, run_async


@main.group(invoke_without_command=True)
@click.option(
    "--data", type=click.Path(path_type=Path, file_okay=False), help="The folder of the witness."
)
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=8081, show_default=True, type=click.IntRange(0, 65535))
@click.pass_context
def witness(context: click.Context, data: Path | None, host: str, port: int) -> None:
    """Cosign the checkpoints of ledgers that only grow, until it is interrupted.

    It serves what `witness init` and `witness trust` have made.
    """
    if context.invoked_subcommand is not None:
        return
    if data is None:
        raise click.UsageError("Missing option '--data'.", context)
    from meter.witness import server  # noqa: PLC0415

    async def run() -> None:
        async with server.serving(data, host, port, lambda: int(time.time())) as url:
            click.echo(f"the witness listens on {url}")
            await server.until_interrupted()

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    run_async(run)


@witness.command("init")
@DATA
@click.option("--name", required=True, help="The name of its key, e.g. university.example/w1.")
def witness_init(data: Path, name: str) -> None:
    """Make the key of a witness (0600) and print its public half."""
    from meter.witness.witness import initialise  # noqa: PLC0415

    click.echo(checked(lambda: initialise(data, name)))


@witness.command("trust")
@DATA
@click.argument("vkey")
def witness_trust(data: Path, vkey: str) -> None:
    """Serve the ledger that has the public key VKEY too, from the next start on."""
    from meter.witness.witness import trust  # noqa: PLC0415

    click.echo(checked(lambda: trust(data, vkey)))
