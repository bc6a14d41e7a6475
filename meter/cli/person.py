"""The operator's commands about people: `kashi person`, and who signs in to the pages."""

from pathlib import Path

import click

from meter.cli.common import (
    CLOCK_IS_RIGHT,
    DATA,
    NOW,
    checked,
    clock_of,
    main,
    run_async,
    warn_of_stranger,
)
from meter.host.data_folder import DataFolder
from meter.host.tokens import Identity
from meter.values.roles import Role
from meter.values.units import MICROSECONDS, format_instant


@main.group(invoke_without_command=True)
@click.option(
    "--data", type=click.Path(path_type=Path, file_okay=False), help="The ledger's data folder."
)
@click.option("--recover", "name", help="The id of a known or a new person of the authority.")
@NOW
@CLOCK_IS_RIGHT
@click.pass_context
def person(
    context: click.Context,
    data: Path | None,
    name: str | None,
    now: str | None,
    *,
    clock_is_right: bool,
) -> None:
    """For the operator: who signs in to the pages.

    With --recover, give a person of the authority a token where too few can act; stop the service
    first. The ledger gets an entry that every monitor is alarmed by.
    """
    if context.invoked_subcommand is not None:
        return
    if data is None or name is None:
        raise click.UsageError("Missing options '--data' and '--recover', or a command.", context)
    from meter.service import persons, setup  # noqa: PLC0415 - needs kashi[server]

    folder = DataFolder(data)

    async def run() -> str:
        clock = clock_of(setup.read_origin(folder), now, is_confirmed=clock_is_right)
        return await persons.recover_person(folder, name, clock)

    click.echo(f"{run_async(run)} is in {folder.token_of(name)}; every monitor raises an alarm")


@person.command("add")
@DATA
@click.argument("name")
@click.option(
    "--role",
    required=True,
    type=click.Choice(["authority", "auditor", "provider", "enterprise"]),
)
@click.option("--subject", default="", help="The provider's id or the enterprise's USCC.")
@click.option("--called", required=True, help="What the pages call the person.")
def add_person(data: Path, name: str, role: Role, subject: str, called: str) -> None:
    """Let a person sign in; NAME stands in the entries that the person makes.

    Of the authority, NAME is an id that an entry names as a token's, and that has no secret.
    """
    from meter.service import sign_ins  # noqa: PLC0415

    who = Identity(name, role, subject)
    run_async(lambda: sign_ins.add_person(DataFolder(data), who, called))
    warn_of_stranger(data, who)


@person.command("list")
@DATA
def list_persons(data: Path) -> None:
    """Print everybody who may sign in, or could: id, role, subject, name, sub, ended.

    The columns are separated by tabs; what is not there is `-`.
    """
    from meter.service import sign_ins  # noqa: PLC0415

    listed = run_async(lambda: sign_ins.list_persons(DataFolder(data)))
    click.echo("id\trole\tsubject\tname\tsub\tended")
    for each in listed:
        who = each.who
        ended = "-" if each.ended_at is None else _shown(each.ended_at)
        there = each.subject_there or "-"
        click.echo("\t".join((who.token_id, who.role, who.subject or "-", each.name, there, ended)))


@person.command("deactivate")
@DATA
@click.argument("name")
@NOW
def end_person(data: Path, name: str, now: str | None) -> None:
    """End the person NAME and all sessions, from the next request on."""
    from meter.service import sign_ins  # noqa: PLC0415

    run_async(lambda: sign_ins.end_person(DataFolder(data), name, _instant(data, now)))


@person.command("bind")
@DATA
@click.argument("name")
@click.option("--sub", "subject", required=True, help="What the issuer calls the person.")
def bind_person(data: Path, name: str, subject: str) -> None:
    """Let the person NAME sign in at the issuer that DATA/sign-in.toml names, and by no link."""
    from meter.service import sign_ins  # noqa: PLC0415

    run_async(lambda: sign_ins.bind_person(DataFolder(data), name, subject))


@person.command("link")
@DATA
@click.argument("name")
@click.option("--url", default="http://127.0.0.1:8080", show_default=True, help="The service's.")
@NOW
def make_link(data: Path, name: str, url: str, now: str | None) -> None:
    """Print a link that signs the person NAME in, once, within an hour."""
    from meter.service import sign_ins  # noqa: PLC0415

    path = run_async(lambda: sign_ins.make_link(DataFolder(data), name, _instant(data, now)))
    click.echo(url.rstrip("/") + path)


@person.command("acts")
@DATA
def list_acts(data: Path) -> None:
    """Print what people did on the pages, in its order: time, id, what, path."""
    from meter.service import sign_ins  # noqa: PLC0415

    for each in run_async(lambda: sign_ins.list_acts(DataFolder(data))):
        click.echo("\t".join((_shown(each.at), each.person, each.what, each.path or "-")))


def _instant(data: Path, now: str | None) -> int:
    """Return the time by the system's clock, or a test's, in microseconds."""
    from meter.service import setup  # noqa: PLC0415

    origin = checked(lambda: setup.read_origin(DataFolder(data)))
    return clock_of(origin, now, is_confirmed=True).now()


def _shown(microseconds: int) -> str:
    return format_instant(microseconds // MICROSECONDS)
