"""The agent's commands: `kashi agent doctor`, `once`."""

import json
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from meter.cli.common import ERR, FILE, checked, complain, main, run_async

if TYPE_CHECKING:
    from meter.agent.run import Agent, Outcome

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
    """For a cluster that reports itself: read Slurm, post what was used.

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
        ERR.print(f"not taken: {each.item.get('id')}: {each.code}: {each.detail}", soft_wrap=True)
