"""What all commands share: the group, options, exit codes, and how a fault or progress is shown."""

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn, cast

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ledger.errors import LedgerError
from meter.cli.help import SPEECH, Group
from meter.host.data_folder import DataFolder
from meter.languages import LANGUAGES, Language, Speech, language_of
from meter.values.problems import Problem
from meter.values.units import parse_instant

if TYPE_CHECKING:
    from io import TextIOWrapper

    # Its module needs kashi[server].
    from meter.host.clock import Clock
    from meter.host.tokens import Identity

GOOD: Final = 0
VIOLATED: Final = 1
NOT_CHECKED: Final = 2
_OF_AUDITS: Final = ("openpyxl", "pyarrow", "reportlab", "xlsxwriter")  # packages of kashi[audit]
_ENDING: Final = (signal.SIGINT, signal.SIGTERM)
DATA = click.option(
    "--data",
    "data",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="The ledger's data folder.",
)
NOW = click.option(
    "--now", "now", help="A test clock that runs on from this instant (.test and .example only)."
)
CLOCK_IS_RIGHT = click.option(
    "--clock-is-right",
    is_flag=True,
    help="Begin although the clock is far from the last entry's, or from the database's.",
)
FILE = click.Path(path_type=Path, dir_okay=False)
BEARER = click.option(
    "--token", "bearer", envvar="KASHI_TOKEN", help="A token, for a log whose entries need one."
)
POLICY = click.option(
    "--policy", type=FILE, help="A trust policy: whose cosignatures the checkpoint needs."
)


def choose_language(
    context: click.Context, _: click.Parameter, named: Language | None
) -> Language | None:
    """Let this command speak the language of its option, else that of the locale."""
    speech = Speech(named or language_of(os.environ))
    context.meta[SPEECH] = speech
    if speech.language != "en":
        # A terminal of another encoding shows less, and ends no command with an exit code.
        cast("TextIOWrapper", sys.stdout).reconfigure(errors="backslashreplace")
    return named


LANGUAGE = click.option(
    "--lang",
    type=click.Choice(LANGUAGES),
    is_eager=True,
    expose_value=False,
    callback=choose_language,
    help="Speak Chinese or English; else as the locale has it. JSON stays as it is.",
)
OUT = Console(emoji=False)  # "accrued:A:2025" is an account
ERR = Console(stderr=True, emoji=False)


class _Ended(KeyboardInterrupt):
    """A signal ends the command; out of a callback, asyncio lets nothing else pass."""

    def __init__(self, number: int) -> None:
        self.number = signal.Signals(number)


class _Commands(Group):
    """All commands: one that is ended by a signal, or lacks a package, says so in one line.

    A signal has an exit code of its own: 1 would say that something is violated.
    """

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with _signals_raise():
                return super().invoke(ctx)
        except _Ended as end:
            complain(f"kashi: interrupted: {end.number.name} came before the end")
            sys.exit(128 + end.number)
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] in {"ledger", "meter"}:
                raise
            extra = "audit" if error.name in _OF_AUDITS else "server"
            complain(f"kashi: missing_extra: {error.name} is missing: pip install 'kashi[{extra}]'")
            sys.exit(1)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="kashi")
def main() -> None:
    """Kashi (卡时): compute vouchers metered exactly, on a ledger that anyone can verify."""


def clock_of(origin: str, now: str | None, *, is_confirmed: bool) -> "Clock":
    """Return the clock of the system, or a test's from an instant on."""
    from meter.host.clock import SYSTEM_CLOCK, clock_from  # noqa: PLC0415

    given = test_clock_of(origin, now)
    clock = SYSTEM_CLOCK if given is None else clock_from(*given)
    return replace(clock, is_confirmed=is_confirmed)


def test_clock_of(origin: str, now: str | None) -> tuple[int, int] | None:
    """Return the instant that a test's clock begins from, and what the steady clock says."""
    from meter.host.clock import SYSTEM_CLOCK  # noqa: PLC0415
    from meter.service import setup  # noqa: PLC0415

    if now is None:
        return None
    setup.check_test_clock(origin)
    return checked(lambda: parse_instant(now)), SYSTEM_CLOCK.steady()


def run_async(make: Callable[[], Awaitable[Any]]) -> Any:
    """Run a coroutine; an error that the user can mend ends with one line, not a traceback.

    The first signal cancels it, so that it cleans up behind itself; a second one ends all at once.
    """
    came: list[int] = []

    async def run() -> Any:
        _on_signal(asyncio.current_task(), came)
        return await make()

    with _signals_kept(), asyncio.Runner(loop_factory=_loop_factory()) as runner:
        try:
            return checked(lambda: runner.run(run()))
        except asyncio.CancelledError:
            if came:
                raise _Ended(came[0]) from None
            raise


def _on_signal(task: "asyncio.Task[Any] | None", came: list[int]) -> None:
    """Cancel a task at the first signal."""
    loop = asyncio.get_running_loop()

    def end(number: int) -> None:
        for each in _ENDING:
            loop.remove_signal_handler(each)
        came.append(number)
        if task is not None:
            task.cancel()

    if _hears_signals():
        for number in _ENDING:
            loop.add_signal_handler(number, end, number)


@contextmanager
def _signals_raise() -> Iterator[None]:
    """Let a signal raise `_Ended` in what runs without a loop."""

    def end(number: int, _frame: object) -> NoReturn:
        # An object that is half made now complains when it goes; nobody needs to hear of that.
        sys.unraisablehook = lambda _: None
        raise _Ended(number)

    with _signals_kept():
        if _hears_signals():
            for number in _ENDING:
                signal.signal(number, end)
        yield


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Put back afterwards what handles signals now."""
    handlers = {number: signal.getsignal(number) for number in _ENDING}
    try:
        yield
    finally:
        if _hears_signals():
            for number, handler in handlers.items():
                signal.signal(number, handler)


def _hears_signals() -> bool:
    return threading.current_thread() is threading.main_thread()


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return that of uvloop where kashi[server] installed it: the service is faster on it."""
    try:
        import uvloop  # noqa: PLC0415
    except ImportError:
        return None
    return uvloop.new_event_loop


def checked(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except (LedgerError, Problem, ValueError, OSError) as error:
        fail(error)
    except Exception as error:
        # SetupError and PostgresError live in modules of kashi[server].
        if hasattr(error, "code") and hasattr(error, "detail"):
            fail(error)
        raise


def speech() -> Speech:
    """Return what speaks for this command: English where it has no option for a language."""
    context = click.get_current_context(silent=True)
    chosen = context.meta.get(SPEECH) if context else None
    return chosen or Speech("en")


def say(text: str, **facts: object) -> str:
    """Return a text in this command's language."""
    return speech().say(text, **facts)


def fail(error: Exception) -> NoReturn:
    complain(f"kashi: {speech().retell(_line_of(error))}")
    sys.exit(1)


def _line_of(error: Exception) -> str:
    """Return an error as a code and a sentence; here Python's and the system's get a code."""
    if hasattr(error, "code"):
        return str(error)
    if isinstance(error, OSError):
        where = "" if error.filename is None else f"{error.filename}: "
        return f"system_failed: {where}{error.strerror or error}"
    return f"malformed: {error}"


def host_and_port(listen: str, option: str = "--listen") -> tuple[str, int]:
    """Return where an option says to listen."""
    host, _, port = listen.rpartition(":")
    if not host or not port.isdecimal():
        raise click.BadParameter(f"{listen!r} is not HOST:PORT", param_hint=option)
    return host, int(port)


def warn_of_stranger(data: Path, who: "Identity") -> None:
    """Say so where an identity is bound to a party that nobody has registered."""
    from meter.service import admin  # noqa: PLC0415 - needs kashi[server]

    if not run_async(lambda: admin.is_for_registered(DataFolder(data), who)):
        complain(
            f"kashi: unknown_{who.role}: the ledger has no {who.role} {who.subject} yet:"
            f" until it has, {who.token_id} reads nothing"
        )


def complain(line: str) -> None:
    # One line, however narrow the terminal: scripts read it too.
    ERR.print(line, style="bold red", highlight=False, markup=False, soft_wrap=True)


@contextmanager
def progress_bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar with a count and the time left; yield the function that moves it."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=ERR, transient=True, disable=not ERR.is_terminal) as bar:
        task = bar.add_task(title, total=None)

        def advance(done: int, total: int) -> None:
            if done % 512 == 0 or done == total:  # drawing costs more than an entry
                bar.update(task, completed=done, total=total)

        yield advance
