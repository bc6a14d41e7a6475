"""The auditor's commands: `kashi verify`, `kashi monitor`, `kashi entry` and `kashi receipt`."""

import json
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    nullcontext,
)
from pathlib import Path
from typing import Any, Final

import click

from ledger.errors import BadNote, BadProof, LedgerError, NotSigned
from meter.cli.common import (
    BEARER,
    FILE,
    GOOD,
    LANGUAGE,
    NOT_CHECKED,
    OUT,
    POLICY,
    VIOLATED,
    complain,
    host_and_port,
    main,
    progress_bar,
    run_async,
    say,
    speech,
)
from meter.cli.help import Group
from meter.values.worded import worded

_CONCLUSIONS: Final = {
    "good": worded("good"),
    "violated": worded("violated"),
    "not_checked": worded("not_checked"),
}
EXIT_CODES: Final = {"good": GOOD, "violated": VIOLATED, "not_checked": NOT_CHECKED}


@main.command()
@click.argument("source")
@click.option("--vkey", required=True, help="The log's public key: a file, or its text.")
@click.option(
    "--receipt",
    "receipts",
    multiple=True,
    type=click.Path(path_type=Path, exists=True),
    help="A stored receipt to check against the ledger, or a bare receipt with its signature"
    " header beside it, with the ending .sig. May be repeated.",
)
@BEARER
@POLICY
@click.option(
    "--since", type=FILE, help="The state of an earlier run, from which the log must have grown."
)
@click.option("--state", type=FILE, help="Write the state here after a good verdict.")
@click.option(
    "--cache",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep fetched files here; they are not fetched again.",
)
@click.option(
    "--processes",
    default=0,
    type=click.IntRange(min=0),
    help="Audit a log that has digests of its state in so many processes; 0 for one on each core.",
)
@click.option(
    "--dask",
    default="",
    metavar="ADDRESS",
    help="Audit it on the workers of this Dask scheduler, which see SOURCE, a folder, under the"
    " same path (kashi[dask]).",
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@LANGUAGE
def verify(  # noqa: PLR0913 - one argument for each option
    source: str,
    vkey: str,
    receipts: tuple[Path, ...],
    bearer: str | None,
    *,
    policy: Path | None,
    since: Path | None,
    state: Path | None,
    cache: Path | None,
    processes: int,
    dask: str,
    as_json: bool,
) -> None:
    """Verify an exported folder (or a URL that serves one): bytes, tree, books and every rule.

    Exit code 0: good. 1: violated: it contradicts what was signed or breaks a rule, and the first
    bad entry is named. 2: could not be checked, which accuses nobody: something is missing, still
    being written, or unreadable.
    """
    # Slow to import, and needed only here.
    from meter.auditor.verdict import Wanted, Workers, show, verify_source  # noqa: PLC0415

    wanted, workers = Wanted(policy, since, state, cache), Workers(processes, dask)
    try:
        with progress_bar(say("verifying")) as advance:
            verdict = verify_source(
                source, vkey, receipts, bearer, advance, wanted=wanted, workers=workers
            )
    except (LedgerError, OSError) as error:
        complain(say("could not check: {error}", error=error))
        sys.exit(NOT_CHECKED)
    if as_json:
        click.echo(json.dumps(verdict.as_json(), ensure_ascii=False, indent=2))
    else:
        show(verdict, OUT, speech())
    sys.exit(EXIT_CODES[verdict.conclusion])


@main.command("what-if")
@click.argument("source")
@click.option("--vkey", required=True, help="The log's public key: a file, or its text.")
@click.option(
    "--policy",
    "policies",
    multiple=True,
    required=True,
    type=FILE,
    help="A policy file. One of a version that the log knows takes its place. May be repeated.",
)
@BEARER
@click.option("--json", "as_json", is_flag=True, help="Print all figures as JSON.")
def what_if_command(
    source: str, vkey: str, policies: tuple[Path, ...], bearer: str | None, *, as_json: bool
) -> None:
    """Verify a log, and tell what it would have paid under other policies.

    Exit code 0: told. 1: the log is violated. 2: it, or a policy, could not be checked.
    """
    from meter.auditor import what_if  # noqa: PLC0415 - slow to import, and needed only here
    from meter.auditor.alternative import compare  # noqa: PLC0415
    from meter.auditor.verdict import show  # noqa: PLC0415

    try:
        texts = what_if.read_policies(policies)
        with progress_bar(say("verifying")) as advance:
            verdict, audit = what_if.verify_and_record(source, vkey, bearer, advance)
        if verdict.conclusion != "good":
            show(verdict, OUT, speech())
            sys.exit(EXIT_CODES[verdict.conclusion])
        with progress_bar(say("comparing")) as advance:
            outcome = compare(audit, texts, advance)
    except (LedgerError, OSError) as error:
        complain(say("could not check: {error}", error=error))
        sys.exit(NOT_CHECKED)
    if as_json:
        click.echo(json.dumps(what_if.as_json(verdict, outcome), ensure_ascii=False, indent=2))
    else:
        what_if.show(verdict, outcome, OUT)


class _Following(Group):
    """A group whose first word may be a URL, which is followed."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take all words for those of `follow`, unless they begin with another command."""
        if args and args[0] not in {*self.commands, "-h", "--help"}:
            args = ["follow", *args]
        return super().parse_args(ctx, args)


@main.group(cls=_Following)
def monitor() -> None:
    """Follow the log at a URL: `kashi monitor URL`. Or check the evidence that a monitor kept."""


@monitor.command()
@click.argument("url")
@click.option("--vkey", required=True, help="The log's public key: a file, or its text.")
@click.option(
    "--data",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="The monitor's folder: its copy of the log, evidence, lasting alarms.",
)
@BEARER
@POLICY
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
@click.option(
    "--free-mb",
    default=1024,
    show_default=True,
    type=click.IntRange(0),
    help="Alarm when less is free on the disk of --data.",
)
@click.option(
    "--webhook",
    "webhooks",
    multiple=True,
    metavar="URL",
    help="Send alarms there, signed; may be repeated (kashi[server]).",
)
@click.option(
    "--mail",
    "addresses",
    multiple=True,
    metavar="ADDRESS",
    help="Send alarms there by DATA/alerts.toml; may be repeated (kashi[server]).",
)
@click.option("--listen", metavar="HOST:PORT", help="Serve /metrics there (kashi[server]).")
@click.option(
    "--service", help="Also tell of the authority's tokens at this service; needs --token."
)
@click.option(
    "--format",
    "form",
    default="json",
    show_default=True,
    type=click.Choice(["json", "text"]),
    help="Lines for programs, or for people.",
)
@LANGUAGE
def follow(  # noqa: PLR0913 - one argument for each option
    url: str,
    vkey: str,
    data: Path,
    bearer: str | None,
    *,
    policy: Path | None,
    interval: float,
    gap_hours: int,
    silence_minutes: int,
    free_mb: int,
    webhooks: tuple[str, ...],
    addresses: tuple[str, ...],
    listen: str | None,
    service: str | None,
    form: str,
) -> None:
    """Follow the log at URL, verify each new part with every rule, and raise alarms.

    It prints what it finds as lines, until it is interrupted.
    """
    from meter.auditor import monitor as following  # noqa: PLC0415
    from meter.auditor.monitor_lines import line_of  # noqa: PLC0415
    from meter.auditor.token_watch import TokenWatch  # noqa: PLC0415
    from meter.auditor.verdict import read_key, read_policy  # noqa: PLC0415

    spoken = speech()

    def report(line: dict[str, Any]) -> None:
        is_json = form == "json"
        click.echo(json.dumps(line, ensure_ascii=False) if is_json else line_of(line, spoken))

    async def run() -> None:
        trust = following.Trust(read_key(vkey), read_policy(policy) if policy else None)
        limits = following.Limits(gap_hours * 3600, silence_minutes * 60, free_mb << 20)
        async with AsyncExitStack() as stack:
            tell = await stack.enter_async_context(_sending(data, webhooks, addresses, report))
            watching = following.Monitor(data, trust, limits, tell)
            stack.callback(watching.close)
            tokens = None
            if service is not None:
                told = watching.mirror.tokens
                tokens = TokenWatch(service, bearer, told, report, lambda: int(time.time()))
            await stack.enter_async_context(_serve_metrics(watching, listen, report))
            await following.run(watching, url, bearer, interval, tokens)

    run_async(run)


def _sending(
    data: Path,
    webhooks: tuple[str, ...],
    addresses: tuple[str, ...],
    say: Callable[[dict[str, Any]], None],
) -> AbstractAsyncContextManager[Callable[[dict[str, Any]], None]]:
    """Return what says a monitor's lines, and sends those of alarms where somebody wants them."""
    if not webhooks and not addresses:
        return nullcontext(say)
    from ledger.files import make_private  # noqa: PLC0415
    from meter.service import monitor_notices  # noqa: PLC0415 - needs kashi[server]

    make_private(data)
    return monitor_notices.sending(data, webhooks, addresses, say)


@asynccontextmanager
async def _serve_metrics(
    watching: Any, listen: str | None, report: Callable[[dict[str, Any]], None]
) -> AsyncIterator[None]:
    """Serve a monitor's metrics inside the `with`, if `listen` names an address."""
    if listen is None:
        yield
        return
    from meter.auditor.monitor_metrics import MonitorMetrics  # noqa: PLC0415 - needs kashi[server]
    from meter.exposition import serve_metrics  # noqa: PLC0415 - the same

    async with serve_metrics(MonitorMetrics(watching), *host_and_port(listen)) as url:
        report({"event": "listening", "url": url})
        yield


@monitor.command()
@click.argument("incident")
@click.option(
    "--data",
    required=True,
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="The monitor's folder.",
)
@click.option("--reason", required=True, help="What is known of it, and what is done.")
@LANGUAGE
def acknowledge(incident: str, data: Path, reason: str) -> None:
    """Say that somebody looks after INCIDENT, which a line of the monitor names; it stays on.

    The monitor may run, and says so at its next look.
    """
    from meter.auditor import alarms  # noqa: PLC0415

    try:
        alarms.acknowledge(data, incident, reason, int(time.time()))
    except (LedgerError, OSError) as error:
        complain(say("not acknowledged: {error}", error=error))
        sys.exit(NOT_CHECKED)
    click.echo(say("{incident}: the monitor takes it at its next look", incident=incident))


@monitor.command("evidence")
@click.argument("file", type=FILE)
@click.option(
    "--vkey",
    "vkeys",
    multiple=True,
    required=True,
    help="A public key of the log: a file, or its text. Repeated for a log that changed its key.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the finding as JSON.")
@LANGUAGE
def check_evidence(file: Path, vkeys: tuple[str, ...], *, as_json: bool) -> None:
    """Check a file of evidence, of a monitor or of a witness, without the log.

    Exit code 0: it proves that the log signed two histories. 1: it is false. 2: it proves nothing
    by itself, or could not be checked.
    """
    from meter.auditor import evidence  # noqa: PLC0415
    from meter.auditor.verdict import read_key  # noqa: PLC0415

    try:
        found = evidence.check(evidence.read_file(file), [read_key(vkey) for vkey in vkeys])
    except (LedgerError, OSError) as error:
        complain(say("could not check: {error}", error=error))
        sys.exit(NOT_CHECKED)
    if as_json:
        click.echo(json.dumps({"verdict": found.conclusion, "detail": found.detail}))
    else:
        told = speech().retell(found.detail)
        click.echo(f"{say(_CONCLUSIONS[found.conclusion])}: {told}")
    sys.exit(EXIT_CODES[found.conclusion])


@main.group()
def entry() -> None:
    """For readers of one entry: verify it offline."""


@entry.command("verify")
@click.argument("file", type=FILE)
@click.option("--entry", "data", type=FILE, help="The entry's bytes, where FILE is a proof alone.")
@click.option(
    "--vkey",
    "vkeys",
    multiple=True,
    help="The log's public key: a file, or its text. Repeated, any one of them is enough.",
)
@POLICY
@LANGUAGE
def verify_entry(
    file: Path, data: Path | None, vkeys: tuple[str, ...], *, policy: Path | None
) -> None:
    """Verify an entry file (.tlog-proof), with nothing but the file and a key.

    Exit code 0: the log holds the entry. 1: violated. 2: no key that you name has signed, or it
    could not be checked.
    """
    from meter.auditor import entry_check  # noqa: PLC0415

    try:
        proved = entry_check.check_file(file, data, vkeys, policy)
    except (BadProof, BadNote) as error:
        complain(str(error))
        sys.exit(NOT_CHECKED if isinstance(error, NotSigned) else VIOLATED)
    except (LedgerError, OSError) as error:
        complain(say("could not check: {error}", error=error))
        sys.exit(NOT_CHECKED)
    checkpoint = proved.checkpoint
    click.echo(
        say(
            "good: {origin} of {size} entries holds this one as number {index}",
            origin=checkpoint.origin,
            size=checkpoint.size,
            index=proved.index,
        )
    )


@main.group()
def receipt() -> None:
    """For keepers of receipts: verify one offline, bring its proof up to date."""


@receipt.command("verify")
@click.argument("file", type=FILE)
@click.option(
    "--vkey",
    "vkeys",
    multiple=True,
    help="The log's public key: a file, or its text. Repeated, any one of them is enough.",
)
@POLICY
@click.option("--proof", type=FILE, help="A later .tlog-proof of the batch's entry.")
@click.option("--receipt-key", help="Base64, for a file in which no proved entry names it.")
@click.option("--provider-key", help="Base64, for a file in which no proved entry names it.")
@click.option("--json", "as_json", is_flag=True, help="Print the checks as JSON.")
@LANGUAGE
def verify_receipt(  # noqa: PLR0913 - one argument for each option
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
    from meter.auditor import receipts  # noqa: PLC0415

    known = receipts.Known(vkeys, policy, receipt_key, provider_key)
    try:
        verdict = receipts.verify(file, known, proof)
    except (LedgerError, OSError) as error:
        complain(say("could not check: {error}", error=error))
        sys.exit(NOT_CHECKED)
    if as_json:
        click.echo(json.dumps(receipts.as_json(verdict), ensure_ascii=False, indent=2))
    else:
        receipts.show(verdict, OUT, speech())
    sys.exit(EXIT_CODES[verdict.conclusion])


@receipt.command("prove")
@BEARER
@click.argument("url")
@click.argument("file", type=FILE)
@LANGUAGE
def prove_receipt(bearer: str | None, url: str, file: Path) -> None:
    """Fetch a proof for a stored receipt from the service at URL, by its newest checkpoint."""
    from meter.auditor import receipts  # noqa: PLC0415

    checkpoint = run_async(lambda: receipts.prove(url, file, bearer))
    click.echo(
        say(
            "{file} is proved by {size} entries of {origin}",
            file=file,
            size=checkpoint.size,
            origin=checkpoint.origin,
        )
    )
