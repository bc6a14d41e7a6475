"""The operator's commands: `kashi init`, `serve`, `token`, `export`, `backup` and more."""

import json
import sys
import tempfile
from pathlib import Path

import click

from meter.cli.common import (
    CLOCK_IS_RIGHT,
    DATA,
    FILE,
    NOW,
    OUT,
    checked,
    clock_of,
    host_and_port,
    main,
    progress_bar,
    run_async,
    test_clock_of,
    warn_of_stranger,
)
from meter.host.data_folder import DataFolder
from meter.host.tokens import Identity
from meter.values.roles import Role
from meter.values.units import (
    MICROSECONDS,
    day_of,
    format_instant,
    parse_date,
    parse_instant,
    parse_money,
)


@main.command()
@DATA
@click.option("--origin", required=True, help="The ledger's name, e.g. kashi.example/shenzhen.")
@click.option(
    "--persons",
    default="",
    help="The ids of two or more persons of the authority, e.g. wang,li. Entry 0 names them.",
)
@click.option(
    "--one-person",
    is_flag=True,
    help="For a trial under .test or .example: one person gives each command alone.",
)
@click.option(
    "--contract-limit",
    default="1000000.00",
    show_default=True,
    help="In yuan: a contract of more needs two persons.",
)
@click.option(
    "--service-login",
    "serving",
    default="",
    help="The login that serves the ledger, if it is another than that of KASHI_DATABASE_URL.",
)
@click.option(
    "--print-sql",
    is_flag=True,
    help="Make nothing; print what an administrator runs where our login may make no roles.",
)
@NOW
@CLOCK_IS_RIGHT
def init(  # noqa: PLR0913, PLR0917 - one argument for each option
    data: Path,
    origin: str,
    persons: str,
    contract_limit: str,
    now: str | None,
    serving: str,
    *,
    one_person: bool,
    print_sql: bool,
    clock_is_right: bool,
) -> None:
    """Make a ledger: keys, database, entry 0, and a token for each person of the authority."""
    from meter.service import setup  # noqa: PLC0415 - needs kashi[server]

    if print_sql:
        click.echo(checked(lambda: setup.roles_script(origin, serving)), nl=False)
        return
    folder, limit = DataFolder(data), checked(lambda: parse_money(contract_limit))
    named = persons.split(",") if persons else [setup.ONE_PERSON] if one_person else []
    authority = setup.Authority(named, one_person, limit)

    async def run() -> None:
        clock = clock_of(origin, now, is_confirmed=clock_is_right)
        await setup.initialise(folder, origin, authority, clock, serving)

    run_async(run)
    click.echo(f"{origin} is in {data}")
    click.echo(f"for verifiers:          {folder.log_vkey}")
    for person in named:
        click.echo(f"a token for {person}:  {folder.token_of(person)}")


@main.command()
@DATA
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=8080, show_default=True, type=click.IntRange(0, 65535))
@click.option(
    "--log-level",
    default="info",
    show_default=True,
    type=click.Choice(["debug", "info", "warning", "error"]),
    help="The level of the logs on stderr: JSON lines, or readable ones in a terminal.",
)
@click.option(
    "--witness-seconds",
    default=2.0,
    show_default=True,
    type=click.FloatRange(0.01),
    help="How long to wait for the witnesses in DATA/witnesses.policy.",
)
@click.option(
    "--without-quorum",
    is_flag=True,
    help="Publish checkpoints that too few witnesses have cosigned, instead of holding them back.",
)
@click.option(
    "--metrics-port",
    type=click.IntRange(0, 65535),
    help="Answer /metrics there too, with those of money, which the public ones lack.",
)
@click.option(
    "--metrics-host",
    default="127.0.0.1",
    show_default=True,
    help="Whoever reaches this address sees the pools and each grant.",
)
@click.option(
    "--database-seconds",
    default=30.0,
    show_default=True,
    type=click.FloatRange(0),
    help="How long a start waits for a database that is away or takes no writes.",
)
@click.option(
    "--fronts",
    default=0,
    show_default=True,
    type=click.IntRange(0, 64),
    help="Let so many processes do HTTP and verify, and this one's leader decide and commit.",
)
@click.option(
    "--listen-leader",
    default="",
    help="HOST:PORT, where other machines reach this one while it leads; one leads at a time.",
)
@click.option(
    "--never-leads",
    is_flag=True,
    help="Be only a front of a ledger whose leader is on another machine.",
)
@click.option(
    "--group-reads-log",
    is_flag=True,
    help="Let the group read DATA/log, for a web server; else only the owner can.",
)
@NOW
@CLOCK_IS_RIGHT
def serve(  # noqa: PLR0913 - one argument for each option
    data: Path,
    host: str,
    port: int,
    log_level: str,
    now: str | None,
    *,
    metrics_host: str,
    metrics_port: int | None,
    group_reads_log: bool,
    fronts: int,
    listen_leader: str,
    never_leads: bool,
    witness_seconds: float,
    without_quorum: bool,
    database_seconds: float,
    clock_is_right: bool,
) -> None:
    """Run the service until it is interrupted."""
    from meter.host import logs  # noqa: PLC0415
    from meter.service import processes, setup  # noqa: PLC0415
    from meter.service import running as service_running  # noqa: PLC0415

    folder = DataFolder(data, group_reads_log)
    witnessing = service_running.Witnessing(witness_seconds, without_quorum=without_quorum)
    own = None if metrics_port is None else service_running.Endpoint(metrics_host, metrics_port)
    if listen_leader and never_leads:
        raise click.UsageError("--listen-leader is for an instance that may lead")
    if listen_leader:
        host_and_port(listen_leader, "--listen-leader")
    in_cluster = never_leads or bool(listen_leader)

    async def run_fronts() -> None:
        origin = setup.read_origin(folder)
        settings = processes.Settings(
            data=str(data),
            group_reads_log=group_reads_log,
            host=host,
            port=port,
            own=own,
            witnessing=witnessing,
            test_clock=test_clock_of(origin, now),
            clock_is_right=clock_is_right,
            log_level=log_level.upper(),
            cluster=processes.Cluster(leader_address=listen_leader) if in_cluster else None,
        )
        async with processes.keeping(settings, fronts or 1, database_seconds) as kept:
            _say_where(origin, kept.url, kept.metrics_url)
            await kept.wait()

    async def run() -> None:
        origin = setup.read_origin(folder)
        clock = clock_of(origin, now, is_confirmed=clock_is_right)
        endpoint = service_running.Endpoint(host, port)
        async with service_running.running(
            folder, endpoint, clock, witnessing, own, database_seconds
        ) as running:
            service_running.settle_interpreter()
            _say_where(origin, running.url, running.metrics_url)
            await service_running.until_interrupted(running.clock, running.ended)

    with logs.write_to(sys.stderr, log_level.upper()):
        try:
            run_async(run_fronts if fronts or in_cluster else run)
        except processes.Ended as ended:
            sys.exit(ended.status)  # it has said why


def _say_where(origin: str, url: str, metrics_url: str) -> None:
    click.echo(f"{origin} listens on {url}")
    if metrics_url:
        click.echo(f"all metrics are at {metrics_url}")


@main.command(hidden=True)
@click.argument("role", type=click.Choice(["leader", "front"]))
@click.argument("settings")
def part(role: str, settings: str) -> None:
    """Be one process of a service; `kashi serve --fronts` starts it."""
    import msgspec  # noqa: PLC0415

    from meter.host import logs  # noqa: PLC0415
    from meter.service import processes  # noqa: PLC0415

    given = msgspec.json.decode(settings, type=processes.Settings)
    with logs.write_to(sys.stderr, given.log_level):
        run_async(lambda: (processes.lead if role == "leader" else processes.front)(given))


@main.group()
def token() -> None:
    """For the operator: make, list and revoke the bearer tokens of the service."""


@token.command("add")
@DATA
@click.argument("name")
@click.option(
    "--role",
    default="authority",
    show_default=True,
    type=click.Choice(["authority", "auditor", "provider", "enterprise"]),
)
@click.option("--subject", default="", help="The provider's id or the enterprise's USCC.")
@click.option("--expires", help="The instant at which the token expires.")
def add_token(data: Path, name: str, role: Role, subject: str, expires: str | None) -> None:
    """Make a bearer token and print it once; NAME stands in the entries that it makes."""
    from meter.service import admin  # noqa: PLC0415

    until = None if expires is None else checked(lambda: parse_instant(expires)) * MICROSECONDS
    identity = Identity(name, role, subject)
    click.echo(run_async(lambda: admin.add_token(DataFolder(data), identity, until)))
    warn_of_stranger(data, identity)


@token.command("revoke")
@DATA
@click.argument("name")
def revoke_token(data: Path, name: str) -> None:
    """Revoke the token NAME, from the next request on."""
    from meter.service import admin  # noqa: PLC0415

    run_async(lambda: admin.revoke_token(DataFolder(data), name))


@token.command("list")
@DATA
def list_tokens(data: Path) -> None:
    """Print every token, but no secret: id, role, subject, made, expires, last used, revoked.

    The columns are separated by tabs; what is not there is `-`.
    """
    from meter.service import admin  # noqa: PLC0415

    listed = run_async(lambda: admin.list_tokens(DataFolder(data)))
    columns = ("id", "role", "subject", "made", "expires", "last used", "revoked")
    click.echo("\t".join(columns))
    for each in listed:
        who = each.identity
        times = (each.made_at, each.expires_at, each.used_at, each.revoked_at)
        click.echo("\t".join((who.token_id, who.role, who.subject or "-", *map(_shown, times))))


def _shown(microseconds: int | None) -> str:
    return "-" if microseconds is None else format_instant(microseconds // MICROSECONDS)


@main.group("access-log")
def access_log() -> None:
    """For the operator: who asked what, as auditors see it."""


@access_log.command("export")
@DATA
@click.argument("out", type=FILE)
@click.option("--day", help="A Shanghai day, such as 2025-03-01.")
@click.option("--from", "starts", help="The first day of several, instead of --day.")
@click.option("--until", "ends", help="The day after the last of them.")
def export_access_log(
    data: Path, out: Path, day: str | None, starts: str | None, ends: str | None
) -> None:
    """Write whole days as CSV into the new file OUT, for `kashi audit access-log`.

    It is the file that auditors download. The service may run.
    """
    from meter.service import access_export  # noqa: PLC0415

    days = _days(day, starts, ends)
    folder = DataFolder(data)
    count = run_async(lambda: access_export.export_access_log(folder, days, out))
    click.echo(f"{out} has {count} rows")


def _days(day: str | None, starts: str | None, ends: str | None) -> range:
    """Return the days since 1970-01-01 that options name, one or several."""
    match day, starts, ends:
        case str(one), None, None:
            return range(_day(one), _day(one) + 1)
        case None, str(first), str(end) if _day(first) < _day(end):
            return range(_day(first), _day(end))
    raise click.UsageError("name --day, or --from and a later --until")


def _day(date: str) -> int:
    day: int = checked(lambda: day_of(parse_date(date)))
    return day


@access_log.command("prune")
@DATA
@click.option(
    "--months",
    default=6,
    show_default=True,
    type=click.IntRange(6, 1200),
    help="How many months are kept, in whole days.",
)
@NOW
def prune_access_log(data: Path, months: int, now: str | None) -> None:
    """Delete old rows of the access log, as the owner of the database; the service may run.

    Days whose digest is not in the ledger stay.
    """
    from meter.service import admin, setup  # noqa: PLC0415

    async def run() -> int:
        folder = DataFolder(data)
        clock = clock_of(setup.read_origin(folder), now, is_confirmed=True)
        return await admin.prune_access_log(folder, months, clock)

    click.echo(f"{run_async(run)} rows deleted")


@main.command()
@DATA
@click.argument("out", type=click.Path(path_type=Path))
def export(data: Path, out: Path) -> None:
    """Write the ledger into the folder OUT, for offline verification."""
    from meter.service import admin  # noqa: PLC0415

    with progress_bar("exporting entries") as advance:
        head = run_async(lambda: admin.export_to(DataFolder(data), out, advance))
    click.echo(f"{head.size} entries, root {head.root.hex()}")


@main.command()
@DATA
@click.argument("out", type=click.Path(path_type=Path, file_okay=False))
def backup(data: Path, out: Path) -> None:
    """Copy database and published log into the folder OUT; the service may run meanwhile.

    Private keys are not in it: keep copies of DATA/*.key elsewhere.
    """
    from meter.service import admin  # noqa: PLC0415

    with progress_bar("copying files of the log") as advance:
        size = run_async(lambda: admin.back_up_from(DataFolder(data), out, advance))
    click.echo(f"{out} holds the database, and the log up to {size} entries")


@main.command()
@DATA
@click.option(
    "--from",
    "backup_",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Restore this backup's database first, where there is none.",
)
@click.option(
    "--checkpoint",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Without a published log: the newest checkpoint that others have. If the database"
    " lacks nothing of it, the log is written again.",
)
def recover(data: Path, backup_: Path | None, checkpoint: Path | None) -> None:
    """Roll the database forward to the published log; stop the service first.

    For a database that was restored from a backup, and for an empty one.
    """
    from meter.service import admin  # noqa: PLC0415

    if backup_ is not None and checkpoint is not None:
        raise click.UsageError("--checkpoint is for a ledger without its log; a backup has one")
    folder = DataFolder(data)
    with progress_bar("recovering entries") as advance:
        if checkpoint is not None:
            note = checkpoint.read_bytes()
            head = run_async(lambda: admin.publish_again_in(folder, note, advance))
            click.echo(f"{folder.log} is written again: {head.size} entries")
            return
        done = run_async(lambda: admin.recover_in(folder, backup_, advance))
    size, root = done.head.size, done.head.root.hex()
    if done.before == size:
        click.echo(f"nothing to recover: {size} entries, root {root}")
    else:
        click.echo(f"{size - done.before} recovered: {size} entries, root {root}")
    if done.renewed:
        for person in done.renewed:
            click.echo(f"a new token for {person}:  {folder.token_of(person)}")
    elif done.before < size:
        click.echo("tokens are those of the backup: one revoked since then is valid again")


@main.command()
@DATA
def rebuild(data: Path) -> None:
    """Make the read models anew from entry 0; stop the service first."""
    from meter.service import admin  # noqa: PLC0415

    with progress_bar("replaying entries") as advance:
        head = run_async(lambda: admin.rebuild_in(DataFolder(data), advance))
    click.echo(f"{head.size} entries replayed, root {head.root.hex()}")


@main.command()
@click.option(
    "--trace",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A cluster trace (CSV) to meter instead of the simulated cluster.",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep everything in this new folder.",
)
@click.option("--serve", is_flag=True, help="Serve seven months for a browser, until Ctrl-C.")
@click.option("--port", type=int, default=8080, show_default=True, help="With --serve: where.")
def demo(trace: Path | None, data: Path | None, port: int, *, serve: bool) -> None:
    """Run the whole story: a service, a cluster that posts usage, an audit, a forgery found."""
    from meter.demo import serving, story  # noqa: PLC0415 - needs kashi[server]

    if serve and trace is not None:
        raise click.UsageError("--serve has a season of its own, and takes no trace")
    if serve and data is not None:
        sys.exit(run_async(lambda: serving.serve_demo(data, port, OUT)))
    if serve:
        with tempfile.TemporaryDirectory(prefix="kashi-demo-") as folder:
            Path(folder).chmod(0o711)
            sys.exit(run_async(lambda: serving.serve_demo(Path(folder), port, OUT)))
    if data is not None:
        sys.exit(run_async(lambda: story.demo(trace, data, OUT, kept=True)))
    with tempfile.TemporaryDirectory(prefix="kashi-demo-") as folder:
        Path(folder).chmod(0o711)
        sys.exit(run_async(lambda: story.demo(trace, Path(folder), OUT)))


@main.group()
def key() -> None:
    """For the operator: make a new key of the service, to rotate the present one."""


@key.command("new")
@DATA
@click.argument("kind", type=click.Choice(["receipt", "log"]))
def new_key(data: Path, kind: str) -> None:
    """Write a new private key (0600) beside the present one; print what is proposed."""
    from meter.service import admin  # noqa: PLC0415

    folder = DataFolder(data)
    body = checked(lambda: admin.new_key(folder, kind))
    click.echo(f"two persons propose and confirm {kind}_key at /v1/proposals:", err=True)
    click.echo(json.dumps(body))
