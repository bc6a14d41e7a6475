"""The agent's commands: `kashi agent doctor`, `once`, `run`, `status` and what waits for people."""

import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import click

from meter.cli.common import ERR, FILE, checked, complain, host_and_port, main, run_async
from meter.values.units import parse_date, parse_instant

if TYPE_CHECKING:
    from meter.agent.run import Agent, Outcome
    from meter.agent.status import Status
    from meter.agent.store import Held, Spool

# A round of the agent takes no longer, but where Slurm or the service is slow.
_PATIENCE_SECONDS: Final = 60.0

T = TypeVar("T")
CONFIG = click.option(
    "--config",
    "file",
    required=True,
    type=FILE,
    envvar="KASHI_AGENT_CONFIG",
    help="The agent's file (TOML).",
)
DRY = click.option("--dry-run", "is_dry", is_flag=True, help="Show it, and change nothing.")


@main.group()
def agent() -> None:
    """For a cluster that reports itself: read its scheduler, post what was used.

    Exit codes: 0 all is well; 1 trouble; 3 somebody has to look.
    """


@agent.command()
@CONFIG
def doctor(file: Path) -> None:
    """Find what would make the agent report wrongly, and say what to do."""
    from meter.agent.config import read_config  # noqa: PLC0415
    from meter.agent.doctor import examine  # noqa: PLC0415

    config = checked(lambda: read_config(file))

    async def look() -> bool:
        is_good = True
        async for finding in examine(config):
            is_good &= finding.is_good
            click.echo(f"{'good' if finding.is_good else 'WRONG'}  {finding.what}")
            if finding.remedy:
                click.echo(f"       {finding.remedy}")
        return is_good

    if not run_async(look):
        sys.exit(1)


@agent.command()
@CONFIG
@DRY
def once(file: Path, is_dry: bool) -> None:
    """Read the scheduler once, post what is due, and show how the agent stands."""
    from meter.agent.run import lines_of  # noqa: PLC0415
    from meter.agent.status import exit_code, status_of  # noqa: PLC0415

    async def round_(agent: "Agent") -> int:
        outcome = await agent.once(is_dry=is_dry)
        if is_dry:
            for each in lines_of(outcome):
                click.echo(json.dumps(each, ensure_ascii=False))
            return 1 if outcome.faults else 0
        _tell(outcome)
        status = status_of(agent.spool)
        for line in status.lines(int(time.time())):
            click.echo(line)
        return exit_code(status, outcome.faults)

    sys.exit(_with_agent(file, round_))


@agent.command()
@CONFIG
@click.option("--every", type=click.FloatRange(1, 3_600), default=60.0, help="Seconds of a round.")
@click.option("--listen", metavar="HOST:PORT", help="Serve /metrics there (kashi[server]).")
def run(file: Path, every: float, listen: str | None) -> None:
    """Report for ever, a round every minute; the file is read anew each time."""
    from meter.agent import run as rounds  # noqa: PLC0415

    async def report() -> None:
        async with _metrics(listen) as note:

            def tell(outcome: "Outcome | None", status: "Status | None", trouble: str) -> None:
                note(outcome, status)
                if outcome is None:
                    complain(f"kashi: {trouble}")
                else:
                    _tell(outcome)

            await rounds.run(file, every, tell)

    run_async(report)


@asynccontextmanager
async def _metrics(
    listen: str | None,
) -> "AsyncIterator[Callable[[Outcome | None, Status | None], None]]":
    """Serve the agent's metrics, if `listen` names an address; yield what takes in a round."""
    if listen is None:
        yield lambda _outcome, _status: None
        return
    from meter.agent.metrics import AgentMetrics  # noqa: PLC0415 - needs kashi[server]
    from meter.exposition import serve_metrics  # noqa: PLC0415 - the same

    metrics = AgentMetrics()
    async with serve_metrics(metrics, *host_and_port(listen)) as url:
        ERR.print(f"metrics at {url}", soft_wrap=True)
        yield metrics.note


@agent.command()
@CONFIG
def status(file: Path) -> None:
    """Show how the agent stands, also while it runs."""
    from meter.agent.status import exit_code, status_of  # noqa: PLC0415

    now = int(time.time())
    with _looking(file) as spool:
        found = checked(lambda: status_of(spool))
    for line in found.lines(now):
        click.echo(line)
    faults = found.faults(now)
    for fault in faults:
        complain(f"kashi: {fault}")
    sys.exit(exit_code(found, faults))


@agent.command()
@CONFIG
def quarantine(file: Path) -> None:
    """List the runs that are not reported, and why."""
    with _looking(file) as spool:
        held = checked(spool.quarantined)
    _list(held, [each.run for each in held])


@agent.group(invoke_without_command=True)
@CONFIG
@click.pass_context
def corrections(context: click.Context, file: Path) -> None:
    """List the corrections that wait for a person, and why."""
    context.obj = file
    if context.invoked_subcommand is None:
        with _looking(file) as spool:
            held = checked(spool.questions)
        _list(held, [each.name for each in held])


@corrections.command()
@click.argument("names", nargs=-1, required=True, metavar="RUN@MARK...")
@click.pass_obj
def approve(file: Path, names: tuple[str, ...]) -> None:
    """Let corrections be made in the next round, each named as the list tells it.

    Where any of them is another one by now, none is approved.
    """
    from meter.agent.config import read_config  # noqa: PLC0415
    from meter.agent.store import Spool  # noqa: PLC0415

    def approve_all() -> list[str]:
        place = Path(read_config(file).spool)
        with Spool.changing(place, _PATIENCE_SECONDS) as spool:
            return spool.approve(names)

    refusals = checked(approve_all)
    for each in refusals:
        complain(f"kashi: {each}")
    sys.exit(1 if refusals else 0)


@agent.command()
@CONFIG
@click.option("--from", "since", required=True, help="An instant, as 2026-11-01T00:00:00+08:00.")
def replay(file: Path, since: str) -> None:
    """Let the next round look as far back as an instant: what it reads was mended.

    A file of jobs is read anew, from its beginning.
    """
    from meter.agent.config import read_config  # noqa: PLC0415
    from meter.agent.store import Spool  # noqa: PLC0415

    def look_back() -> None:
        instant = parse_instant(since)
        place = Path(read_config(file).spool)
        with Spool.changing(place, _PATIENCE_SECONDS) as spool, spool.change():
            spool.look_back(instant)

    checked(look_back)


@agent.command()
@CONFIG
def adopt(file: Path) -> None:
    """Fill a new spool, or an older copy, with what the service holds; post nothing."""
    from meter.agent.adopt import adopt as fill  # noqa: PLC0415
    from meter.agent.config import read_config  # noqa: PLC0415

    async def fill_from_service(agent: "Agent") -> None:
        done = await fill(agent, read_config(file), int(time.time()))
        click.echo(
            f"{done.runs} runs have {done.slices} slices; the stream goes on after {done.last_seq}"
        )

    _with_agent(file, fill_from_service)


@agent.command()
@CONFIG
@click.option("--day", required=True, help="A Shanghai day, as 2026-11-28.")
def verify(file: Path, day: str) -> None:
    """Compare the runs of a day by the scheduler, the spool and the service; post nothing."""
    from meter.agent.compare import compare_day, table_of  # noqa: PLC0415
    from meter.agent.config import read_config  # noqa: PLC0415

    begin = checked(lambda: parse_date(day))

    async def compare(agent: "Agent") -> int:
        compared = await compare_day(agent, read_config(file), begin)
        for line in table_of(compared):
            click.echo(line)
        if any(each.is_wrong for each in compared):
            return 1
        return 3 if any(each.reason for each in compared) else 0

    sys.exit(_with_agent(file, compare))


@agent.command()
@CONFIG
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
def receipts(file: Path, folder: Path) -> None:
    """Write each batch with its receipt and proof into FOLDER, for `kashi receipt verify`."""

    async def write(agent: "Agent") -> None:
        await agent.prove()
        click.echo(f"{agent.spool.write_proofs(folder)} new")

    _with_agent(file, write)


@contextmanager
def _looking(file: Path) -> "Iterator[Spool]":
    """Open the spool of a configuration to look at it."""
    from meter.agent.config import read_config  # noqa: PLC0415
    from meter.agent.store import Spool  # noqa: PLC0415

    with ExitStack() as stack:
        place = Path(checked(lambda: read_config(file)).spool)
        yield checked(lambda: stack.enter_context(Spool.looking(place)))


def _list(held: "Sequence[Held]", names: list[str]) -> None:
    """Print runs by their names, one a line, and exit with 3 where there are some."""
    for name, each in zip(names, held, strict=True):
        click.echo(
            f"{name}  {each.account}  {each.seconds} s  {each.trouble.code}:"
            f" {each.trouble.detail}  {each.allocation}"
        )
    sys.exit(3 if held else 0)


def _with_agent(file: Path, do: "Callable[[Agent], Awaitable[T]]") -> T:
    """Do something with the agent of a configuration, whose spool is this process's meanwhile."""
    from meter.agent.config import read_config  # noqa: PLC0415
    from meter.agent.run import Agent  # noqa: PLC0415

    async def run() -> T:
        async with Agent(read_config(file)) as agent:
            return await do(agent)

    done: T = run_async(run)
    return done


def _tell(outcome: "Outcome") -> None:
    for fault in outcome.faults:
        complain(f"kashi: {fault}")
    for each in outcome.report.not_taken:
        # A scheduler's users choose the names of their jobs.
        told = f"not taken: {each.item.get('id')}: {each.code}: {each.detail}"
        ERR.print(told, highlight=False, markup=False, soft_wrap=True)
