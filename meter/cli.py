"""The command `kashi`: each command parses its words, calls one function, and prints.

What needs the server's packages is imported inside its command, so that `pip install kashi` alone
gives verification and the provider's commands.
"""

import asyncio
import contextlib
import json
import logging
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final, NoReturn

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ledger.errors import LedgerError
from meter.host.data_folder import DataFolder
from meter.host.tokens import Identity, Role
from meter.values.problems import Problem
from meter.values.units import MICROSECONDS, parse_instant

GOOD: Final = 0
VIOLATED: Final = 1
NOT_CHECKED: Final = 2

_DATA = click.option(
    "--data",
    "data",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="The ledger's data folder.",
)
_NOW = click.option(
    "--now", "now", help="A test clock that runs on from this instant (.test and .example only)."
)
_FILE = click.Path(path_type=Path, dir_okay=False)
_BEARER = click.option(
    "--token", "bearer", envvar="KASHI_TOKEN", help="For a log whose entries need one."
)
_POLICY = click.option(
    "--policy", type=_FILE, help="A trust policy: whose cosignatures the checkpoint needs."
)
_OUT = Console(emoji=False)  # "accrued:A:2025" is an account
_ERR = Console(stderr=True, emoji=False)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="kashi")
def main() -> None:
    """Kashi (卡时): compute vouchers metered exactly, on a ledger that anyone can verify."""


@main.command()
@_DATA
@click.option("--origin", required=True, help="The ledger's name, e.g. kashi.example/shenzhen.")
@_NOW
def init(data: Path, origin: str, now: str | None) -> None:
    """Make a ledger: keys, database, entry 0, and the authority's first token."""
    from meter import service  # noqa: PLC0415 - needs kashi[server]

    folder = DataFolder(data)
    _run(lambda: service.initialise(folder, origin, _clock(origin, now)))
    click.echo(f"{origin} is in {data}")
    click.echo(f"for whoever verifies:   {folder.log_vkey}")
    click.echo(f"the authority's token:  {folder.authority_token}")


@main.command()
@_DATA
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=8080, show_default=True, type=click.IntRange(0, 65535))
@click.option(
    "--log-level",
    default="info",
    show_default=True,
    type=click.Choice(["debug", "info", "warning", "error"]),
    help="What goes to stderr: JSON lines, or readable ones in a terminal.",
)
@click.option(
    "--witness-seconds",
    default=2.0,
    show_default=True,
    type=click.FloatRange(0.01),
    help="How long the witnesses in DATA/witnesses.policy are waited for.",
)
@click.option(
    "--without-quorum",
    is_flag=True,
    help="Publish also what too few witnesses have cosigned; else it is held back.",
)
@_NOW
def serve(  # noqa: PLR0913 - one argument for each word
    data: Path,
    host: str,
    port: int,
    log_level: str,
    now: str | None,
    *,
    witness_seconds: float,
    without_quorum: bool,
) -> None:
    """Run the service until it is interrupted."""
    from meter import service  # noqa: PLC0415
    from meter.host import logs  # noqa: PLC0415

    folder = DataFolder(data)

    async def run() -> None:
        origin = service.read_origin(folder)
        clock = _clock(origin, now)
        witnessing = service.Witnessing(witness_seconds, without_quorum=without_quorum)
        async with service.running(folder, host, port, clock, witnessing) as running:
            service.settle_interpreter()
            click.echo(f"{origin} listens on {running.url}")
            await service.until_interrupted(running)

    with logs.written_to(sys.stderr, log_level.upper()):
        _run(run)


@main.command()
@_DATA
@click.argument("name")
@click.option(
    "--role",
    default="authority",
    show_default=True,
    type=click.Choice(["authority", "auditor", "provider", "enterprise"]),
)
@click.option("--subject", default="", help="The provider's id or the enterprise's USCC.")
@click.option("--expires", help="An instant from which the token opens nothing.")
@click.option("--revoke", is_flag=True, help="Revoke the token NAME instead.")
def token(  # noqa: PLR0913 - one argument for each word
    data: Path, name: str, role: Role, subject: str, expires: str | None, *, revoke: bool
) -> None:
    """Make a bearer token and print it, once; NAME enters the entries that it makes."""
    from meter import service  # noqa: PLC0415

    folder = DataFolder(data)
    if revoke:
        _run(lambda: service.revoke_token(folder, name))
        return
    until = None if expires is None else _checked(lambda: parse_instant(expires)) * MICROSECONDS
    identity = Identity(name, role, subject)
    click.echo(_run(lambda: service.add_token(folder, identity, until)))


@main.command()
@_DATA
@click.argument("out", type=click.Path(path_type=Path))
def export(data: Path, out: Path) -> None:
    """Write the ledger into the folder OUT, for offline verification."""
    from meter import service  # noqa: PLC0415

    with _progress("exporting entries") as advance:
        head = _run(lambda: service.export_to(DataFolder(data), out, advance))
    click.echo(f"{head.size} entries, root {head.root.hex()}")


@main.command()
@_DATA
@click.argument("out", type=click.Path(path_type=Path, file_okay=False))
def backup(data: Path, out: Path) -> None:
    """Copy database and published log into the folder OUT; the service may run meanwhile.

    Private keys are not in it: keep copies of DATA/*.key elsewhere.
    """
    from meter import service  # noqa: PLC0415

    with _progress("copying files of the log") as advance:
        size = _run(lambda: service.back_up_from(DataFolder(data), out, advance))
    click.echo(f"{out} holds the database, and the log up to {size} entries")


@main.command()
@_DATA
@click.option(
    "--from",
    "backup_",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Restore this backup's database first, where there is none.",
)
@click.option(
    "--checkpoint",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Without a published log: the newest checkpoint that others have. Where the database"
    " lacks nothing of it, the log is written again.",
)
def recover(data: Path, backup_: Path | None, checkpoint: Path | None) -> None:
    """Roll the database forward to where the published log is; stop the service first.

    For a database that was restored from a backup, and for an empty one.
    """
    from meter import service  # noqa: PLC0415

    if backup_ is not None and checkpoint is not None:
        raise click.UsageError("--checkpoint is for a ledger without its log; a backup has one")
    folder = DataFolder(data)
    with _progress("recovering entries") as advance:
        if checkpoint is not None:
            note = checkpoint.read_bytes()
            head = _run(lambda: service.publish_again_in(folder, note, advance))
            click.echo(f"{folder.log} is written again: {head.size} entries")
            return
        done = _run(lambda: service.recover_in(folder, backup_, advance))
    size, root = done.head.size, done.head.root.hex()
    if done.before == size:
        click.echo(f"nothing to recover: {size} entries, root {root}")
    else:
        click.echo(f"{size - done.before} recovered: {size} entries, root {root}")
    if done.has_new_token:
        click.echo(f"the authority's new token:  {folder.authority_token}")
    elif done.before < size:
        click.echo("tokens are those of the backup: what was revoked since opens again")


@main.command()
@_DATA
def rebuild(data: Path) -> None:
    """Make the read models anew from entry 0; stop the service first."""
    from meter import service  # noqa: PLC0415

    with _progress("replaying entries") as advance:
        head = _run(lambda: service.rebuild_in(DataFolder(data), advance))
    click.echo(f"{head.size} entries replayed, root {head.root.hex()}")


@main.command()
@click.argument("source")
@click.option("--vkey", required=True, help="The log's public key: a file, or its text.")
@click.option(
    "--receipt",
    "receipts",
    multiple=True,
    type=click.Path(path_type=Path, exists=True),
    help="A stored receipt to hold against the ledger, or the answer to a batch with its signature"
    " header beside it, with the ending .sig. May be repeated.",
)
@_BEARER
@_POLICY
@click.option("--since", type=_FILE, help="The state of an earlier run: the log only grew since.")
@click.option("--state", type=_FILE, help="Write the state here after a good verdict.")
@click.option(
    "--cache",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep what is fetched from a URL here; what is there is not fetched again.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def verify(  # noqa: PLR0913 - one argument for each word
    source: str,
    vkey: str,
    receipts: tuple[Path, ...],
    bearer: str | None,
    *,
    policy: Path | None,
    since: Path | None,
    state: Path | None,
    cache: Path | None,
    as_json: bool,
) -> None:
    """Verify an exported folder (or a URL that serves one): bytes, tree, books and every rule.

    Exit code 0: good. 1: violated, the first bad entry is named. 2: could not be checked.
    """
    from meter.auditor.verdict import Wanted, show, verify_source  # noqa: PLC0415 - slow to import, needed only here

    wanted = Wanted(policy, since, state, cache)
    try:
        with _progress("verifying") as advance:
            verdict = verify_source(source, vkey, auditor_receipts, bearer, advance, wanted=wanted)
    except (LedgerError, OSError) as error:
        _complain(f"could not check: {error}")
        sys.exit(NOT_CHECKED)
    if as_json:
        click.echo(json.dumps(verdict.as_json(), ensure_ascii=False, indent=2))
    else:
        show(verdict, _OUT)
    sys.exit(GOOD if verdict.ok else VIOLATED)


@main.command()
@click.argument("url")
@click.option("--vkey", required=True, help="The log's public key: a file, or its text.")
@click.option(
    "--data",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="The monitor's folder: its copy of the log, evidence, lasting alarms.",
)
@_BEARER
@_POLICY
@click.option(
    "--interval", default=10.0, show_default=True, type=click.FloatRange(0.1), help="In seconds."
)
@click.option(
    "--gap-hours",
    default=24,
    show_default=True,
    type=click.IntRange(0),
    help="Alarm when a number of a stream is missing for longer.",
)
@click.option(
    "--silence-minutes",
    default=60,
    show_default=True,
    type=click.IntRange(0),
    help="Alarm when there was no new checkpoint for longer.",
)
@click.option("--listen", metavar="HOST:PORT", help="Answer /metrics there (kashi[server]).")
def monitor(  # noqa: PLR0913 - one argument for each word
    url: str,
    vkey: str,
    data: Path,
    bearer: str | None,
    *,
    policy: Path | None,
    interval: float,
    gap_hours: int,
    silence_minutes: int,
    listen: str | None,
) -> None:
    """Follow the log at URL, verify each new part with every rule, and raise alarms.

    It says what it finds in lines of JSON, and runs until it is interrupted.
    """
    from meter.auditor import monitor as following  # noqa: PLC0415
    from meter.auditor.verdict import read_key, read_policy  # noqa: PLC0415

    def say(line: dict[str, Any]) -> None:
        click.echo(json.dumps(line, ensure_ascii=False))

    async def run() -> None:
        trust = following.Trust(read_key(vkey), read_policy(policy) if policy else None)
        limits = following.Limits(gap_hours * 3600, silence_minutes * 60)
        with contextlib.closing(following.Monitor(data, trust, limits, say)) as watching:
            async with _exposed(watching, listen, say):
                await following.run(watching, url, bearer, interval)

    _run(run)


@asynccontextmanager
async def _exposed(
    watching: Any, listen: str | None, say: Callable[[dict[str, Any]], None]
) -> AsyncIterator[None]:
    """Answer a monitor's metrics meanwhile, where that is wanted."""
    if listen is None:
        yield
        return
    from meter.auditor import monitor_metrics  # noqa: PLC0415 - needs kashi[server]

    host, _, port = listen.rpartition(":")
    if not host or not port.isdecimal():
        raise click.BadParameter(f"{listen!r} is not HOST:PORT", param_hint="--listen")
    async with monitor_metrics.exposed(watching, host, int(port)) as url:
        say({"event": "listening", "url": url})
        yield


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
def demo(trace: Path | None, data: Path | None) -> None:
    """Run the whole story: a service, a cluster that posts usage, an audit, a forgery found."""
    from meter.demo import story  # noqa: PLC0415 - needs kashi[server]

    if data is not None:
        sys.exit(story.run(trace, data, _OUT, kept=True))
    with tempfile.TemporaryDirectory(prefix="kashi-demo-") as folder:
        Path(folder).chmod(0o711)
        sys.exit(story.run(trace, Path(folder), _OUT))


@main.group(invoke_without_command=True)
@click.option("--data", type=click.Path(path_type=Path, file_okay=False), help="Its folder.")
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
    _run(run)


@witness_witness.command("init")
@_DATA
@click.option("--name", required=True, help="What its key is called, e.g. university.example/w1.")
def witness_init(data: Path, name: str) -> None:
    """Make the key of a witness (0600) and print its public half."""
    from meter.witness import witness as witness_witness  # noqa: PLC0415

    click.echo(_checked(lambda: witness_witness.initialise(data, name)))


@witness_witness.command("trust")
@_DATA
@click.argument("vkey")
def witness_trust(data: Path, vkey: str) -> None:
    """Serve the ledger that has the public key VKEY too, from the next start on."""
    from meter.witness import witness as witness_witness  # noqa: PLC0415

    click.echo(_checked(lambda: witness_witness.trust(data, vkey)))


@main.group()
def receipt() -> None:
    """For whoever keeps receipts: verify one offline, bring its proof up to date."""


@receipt.command("verify")
@click.argument("file", type=_FILE)
@click.option(
    "--vkey",
    "vkeys",
    multiple=True,
    help="The log's public key: a file, or its text. Repeated, any one of them is enough.",
)
@_POLICY
@click.option("--proof", type=_FILE, help="A later .tlog-proof of the batch's entry.")
@click.option("--receipt-key", help="Base64, for a file in which no proved entry names it.")
@click.option("--provider-key", help="Base64, for a file in which no proved entry names it.")
@click.option("--json", "as_json", is_flag=True, help="Print the checks as JSON.")
def verify_receipt(  # noqa: PLR0913 - one argument for each word
    file: Path,
    vkeys: tuple[str, ...],
    *,
    policy: Path | None,
    proof: Path | None,
    receipt_key: str | None,
    provider_key: str | None,
    as_json: bool,
) -> None:
    """Verify a stored receipt, its batch and its proof, with nothing but the file and a key.

    Exit code 0: the log holds the batch. 1: violated. 2: not proved, or could not be checked.
    """
    from meter.auditor import receipts as auditor_receipts  # noqa: PLC0415

    known = auditor_receipts.Known(vkeys, policy, receipt_key, provider_key)
    try:
        verdict = auditor_receipts.verify(file, known, proof)
    except (LedgerError, OSError) as error:
        _complain(f"could not check: {error}")
        sys.exit(NOT_CHECKED)
    if as_json:
        click.echo(json.dumps(auditor_receipts.as_json(verdict), ensure_ascii=False, indent=2))
    else:
        auditor_receipts.show(verdict, _OUT)
    sys.exit({"good": GOOD, "violated": VIOLATED, "not_checked": NOT_CHECKED}[verdict.conclusion])


@receipt.command("prove")
@_BEARER
@click.argument("url")
@click.argument("file", type=_FILE)
def prove_receipt(bearer: str | None, url: str, file: Path) -> None:
    """Fetch a proof for a stored receipt from the service at URL, by its newest checkpoint."""
    from meter.auditor import receipts as auditor_receipts  # noqa: PLC0415

    checkpoint = _run(lambda: auditor_receipts.prove(url, file, bearer))
    click.echo(f"{file} is proved by {checkpoint.size} entries of {checkpoint.origin}")


@main.group()
def key() -> None:
    """For the operator: make a new key of the service, to rotate the present one."""


@key.command("new")
@_DATA
@click.argument("kind", type=click.Choice(["receipt", "log"]))
def new_key(data: Path, kind: str) -> None:
    """Write a new private key (0600) beside the present one; print what the authority posts."""
    from meter import service  # noqa: PLC0415

    folder = DataFolder(data)
    path, body = _checked(lambda: service.new_key(folder, kind))
    click.echo(f"for POST {path}:", err=True)
    click.echo(json.dumps(body))


@main.group()
def provider() -> None:
    """For computing providers: make a key, sign a batch, post it."""


@provider.command()
@click.argument("file", type=click.Path(path_type=Path))
def keygen(file: Path) -> None:
    """Write a new Ed25519 key to FILE (0600) and print the public key to register."""
    from meter import client  # noqa: PLC0415

    click.echo(_checked(lambda: client.keygen(file)))


@provider.command()
@click.option("--key", required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--keyid", required=True, help="The name under which the key is registered.")
@click.argument("batch", type=click.File("rb"))
def sign(key: Path, keyid: str, batch: Any) -> None:
    """Sign the batch in the file BATCH (- for standard input) and print its envelope."""
    from meter import client  # noqa: PLC0415

    click.echo(_checked(lambda: client.sign_payload(batch.read(), keyid, client.load_key(key))))


@provider.command()
@click.option("--receipt-key", help="The service's receipt key (base64): check the signature.")
@click.option("--keep", type=_FILE, help="Keep batch and receipt in this file (`kashi receipt`).")
@click.option(
    "--token", "bearer", envvar="KASHI_TOKEN", help="Keep a proof too, with a provider's."
)
@click.argument("url")
@click.argument("envelope", type=click.File("rb"))
def post(
    receipt_key: str | None, keep: Path | None, bearer: str | None, url: str, envelope: Any
) -> None:
    """Post a signed envelope to the service at URL and print the receipt."""
    from meter import client  # noqa: PLC0415

    data = envelope.read()
    answer = _run(lambda: client.post(url, data, receipt_key))
    click.echo(answer.body)
    click.echo(f"Kashi-Signature: {answer.signature}", err=True)
    if keep is not None:
        from meter.auditor import receipts as auditor_receipts  # noqa: PLC0415 - slow to import, needed only here

        _checked(lambda: auditor_receipts.keep(keep, data, answer))
        if bearer is not None:
            _run(lambda: auditor_receipts.prove(url, keep, bearer))


def _clock(origin: str, now: str | None) -> Callable[[], int]:
    from meter import service  # noqa: PLC0415
    from meter.host.clock import clock_from, system_clock  # noqa: PLC0415

    if now is None:
        return system_clock
    service.check_test_clock(origin)
    return clock_from(_checked(lambda: parse_instant(now)))


def _run(make: Callable[[], Awaitable[Any]]) -> Any:
    """Run a coroutine; what the user can mend ends with one line, not a traceback."""

    async def run() -> Any:
        return await make()

    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return _checked(lambda: runner.run(run()))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Give uvloop's where kashi[server] brought it: the service answers faster on it."""
    try:
        import uvloop  # noqa: PLC0415
    except ImportError:
        return None
    return uvloop.new_event_loop


def _checked(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except (LedgerError, Problem, ValueError, OSError) as error:
        _fail(error)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        # SetupError and PostgresError live in modules of kashi[server].
        if hasattr(error, "code") and hasattr(error, "detail"):
            _fail(error)
        raise


def _fail(error: Exception) -> NoReturn:
    _complain(f"kashi: {error}")
    sys.exit(1)


def _complain(line: str) -> None:
    # One line however narrow the terminal: scripts read it too.
    _ERR.print(line, style="bold red", highlight=False, markup=False, soft_wrap=True)


@contextmanager
def _progress(title: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar with a count and the time left; give the function that moves it."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=_ERR, transient=True, disable=not _ERR.is_terminal) as bar:
        task = bar.add_task(title, total=None)

        def advance(done: int, total: int) -> None:
            if done % 512 == 0 or done == total:  # drawing costs more than an entry
                bar.update(task, completed=done, total=total)

        yield advance
