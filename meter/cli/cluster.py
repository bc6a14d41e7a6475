"""`kashi cluster`: what several machines need to serve one ledger."""

from pathlib import Path

import click

from meter.cli.common import DATA, checked, main
from meter.host.data_folder import DataFolder


@main.group()
def cluster() -> None:
    """For the operator: make the certificates by which machines of a cluster know each other."""


@cluster.command("cert")
@DATA
@click.argument("host")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Make the data folder of another machine here; without it, DATA gets the certificate.",
)
@click.option(
    "--may-lead",
    is_flag=True,
    help="Copy the keys that sign into OUT. A machine without them is a front, and never leads.",
)
def cert(data: Path, host: str, out: Path | None, *, may_lead: bool) -> None:
    """Make a key and a certificate for the machine that others reach by HOST.

    The first call makes the cluster's authority in DATA: keep DATA/cluster-ca.key there, and send
    OUT to its machine by a way that nobody else can read.
    """
    from meter.host import cluster as certificates  # noqa: PLC0415 - needs kashi[server]
    from meter.host.clock import SYSTEM_CLOCK  # noqa: PLC0415 - the same

    folder, now = DataFolder(data), SYSTEM_CLOCK.now() // 1_000_000
    if out is None and may_lead:
        raise click.UsageError("--may-lead is for a folder of --out: DATA has its keys already")
    if out is None:
        checked(lambda: certificates.make_certificate(folder, folder, host, now))
        click.echo(f"{folder.cluster_certificate} is for {host}")
        return
    other = DataFolder(out)
    checked(lambda: certificates.make_machine(folder, other, host, now, may_lead=may_lead))
    click.echo(f"{out} is for {host}, which {'may lead' if may_lead else 'never leads'}")
