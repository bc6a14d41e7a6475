"""`kashi doctor`: what would end a service, or lose what only it has."""

import sys
from pathlib import Path

import click

from meter.cli.common import DATA, NOW, clock_of, main, run_async
from meter.host.data_folder import DataFolder


@main.command()
@DATA
@click.option("--url", "urls", multiple=True, help="An address that people use; more than once.")
@click.option(
    "--backups",
    type=click.Path(path_type=Path, file_okay=False),
    help="The folder that holds backups, or is one.",
)
@NOW
def doctor(data: Path, urls: tuple[str, ...], backups: Path | None, now: str | None) -> None:
    """Look at clock, disk, database, standbys, witnesses, certificates and backups.

    The service may run meanwhile. Exit codes: 0 all is well; 1 trouble; 3 somebody has to look.
    """
    from meter.service import setup  # noqa: PLC0415 - needs kashi[server]
    from meter.service.doctor import examine  # noqa: PLC0415 - the same

    folder = DataFolder(data)

    async def look() -> int:
        status = 0
        clock = clock_of(setup.read_origin(folder), now, is_confirmed=False)
        async for each in examine(folder, clock, urls, backups):
            if each.is_good:
                click.echo(f"good   {each.what}")
                continue
            click.echo(f"{'look ' if each.can_wait else 'WRONG'}  {each.code}: {each.what}")
            click.echo(f"       {each.remedy}")
            status = status or 3 if each.can_wait else 1
        return status

    sys.exit(run_async(look))
