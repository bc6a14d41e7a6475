"""The auditor's papers: `kashi audit`, which writes from a log that it has verified."""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
from msgspec import convert

from ledger.errors import LedgerError, Violation
from meter.cli.auditor import EXIT_CODES
from meter.cli.common import (
    BEARER,
    FILE,
    LANGUAGE,
    NOT_CHECKED,
    OUT,
    VIOLATED,
    choose_language,
    complain,
    main,
    progress_bar,
    say,
    speech,
)
from meter.languages import LANGUAGES, Language
from meter.values.problems import Problem
from meter.values.units import format_instant
from meter.values.worded import worded

if TYPE_CHECKING:  # slow to import, and needed only inside
    from meter.auditor.papers.log import VerifiedLog

_KEY = click.option("--vkey", required=True, help="The log's public key: a file, or its text.")
_PERIOD = click.option(
    "--period", help="A year, 2025, or a month, 2025-03, by the ledger's dates; else all."
)
_TARGET = click.argument("target", type=click.Path(path_type=Path))


_LANGUAGE_OF_PAPER = click.option(
    "--lang",
    "language",
    type=click.Choice(LANGUAGES),
    is_eager=True,
    callback=choose_language,
    help="The language of the paper, else Chinese; of messages too, else the locale's.",
)
# A work, and what is said where it cannot be done.
_WRITE: Final = worded("could not write: {error}")
_READ: Final = worded("could not read: {error}")
_PROJECT: Final = worded("could not project: {error}")
_COMPARE: Final = worded("could not compare: {error}")
_CHECK: Final = worded("could not check: {error}")


@main.group()
def audit() -> None:
    """Write an auditor's papers from a log, which is verified first."""


@audit.command()
@click.argument("source")
@_TARGET
@_KEY
@click.option(
    "--format",
    "form",
    required=True,
    type=click.Choice(["csv", "xlsx", "parquet", "beancount", "hledger", "ledger", "audit-data"]),
    help="The form of the files.",
)
@_PERIOD
@BEARER
@LANGUAGE
def export(  # noqa: PLR0913, PLR0917 - one argument for each option
    source: str, target: Path, vkey: str, form: str, period: str | None, bearer: str | None
) -> None:
    """Verify SOURCE, a folder or a URL, and write its tables or books into the new folder TARGET.

    Exit code 0: written. 1: the log is violated. 2: it could not be checked, or not written.
    """
    from meter.auditor.papers import export as exporting  # noqa: PLC0415 - slow to import
    from meter.auditor.papers.period import Period  # noqa: PLC0415
    from meter.auditor.papers.target import check_target  # noqa: PLC0415

    with _told(_WRITE):
        chosen = Period.parse(period) if period else Period()
        check_target(target)
    with (
        _verified(source, vkey, bearer) as log,
        _told(_WRITE),
        progress_bar(say("writing")) as advance,
    ):
        exporting.export(log, convert(form, exporting.Format), chosen, target, advance)
        told = say(
            "{origin}, {size} entries, root {root}",
            origin=log.origin,
            size=log.size,
            root=log.root,
        )
        click.echo(f"{target}: {told}")


@audit.command()
@click.argument("source")
@_TARGET
@_KEY
@click.option("--size", default=60, show_default=True, type=click.IntRange(2, 100_000))
@click.option(
    "--method",
    default="monetary-unit",
    show_default=True,
    type=click.Choice(["monetary-unit", "random", "stratified"]),
)
@_PERIOD
@BEARER
@LANGUAGE
def sample(  # noqa: PLR0913, PLR0917 - one argument for each option
    source: str,
    target: Path,
    vkey: str,
    size: int,
    method: str,
    period: str | None,
    bearer: str | None,
) -> None:
    """Verify SOURCE, and draw a sample of its records into the new folder TARGET.

    The root of the checkpoint decides which. Exit codes as of `kashi audit export`.
    """
    from meter.auditor.papers import sample as sampling  # noqa: PLC0415 - slow to import
    from meter.auditor.papers import sheet  # noqa: PLC0415
    from meter.auditor.papers.period import Period  # noqa: PLC0415
    from meter.auditor.papers.target import check_target  # noqa: PLC0415

    with _told(_WRITE):
        chosen = Period.parse(period) if period else Period()
        check_target(target)
    with _verified(source, vkey, bearer) as log, _told(_WRITE):
        items = sampling.population(log.entries(), chosen)
        found = sampling.draw(items, convert(method, sampling.Method), size, log.root)
        sheet.write_sheet(log, found, chosen, target)
        told = say(
            "{drawn} of {items} records, root {root}",
            drawn=len(found.drawn),
            items=found.items,
            root=log.root,
        )
        click.echo(f"{target}: {told}")


@audit.command()
@click.argument("source")
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@_KEY
@click.option(
    "--sheet", "filled", type=FILE, help="The sheet that was filled in; else FOLDER/sample.xlsx."
)
@BEARER
@LANGUAGE
def project(source: str, folder: Path, vkey: str, filled: Path | None, bearer: str | None) -> None:
    """Say what the audited values of a sample mean for all records, as JSON.

    SOURCE is the log of which the sample in FOLDER was drawn, which may have grown since; it is
    drawn again and compared.
    """
    from meter.auditor.papers import sample as sampling  # noqa: PLC0415 - slow to import
    from meter.auditor.papers import sheet  # noqa: PLC0415

    with _told(_READ):
        asked = sheet.read_about(folder)
    with _verified(source, vkey, bearer) as log, _told(_PROJECT):
        drawn = asked.drawn_again(log)
        audited = sheet.read_audited(filled or folder / "sample.xlsx", drawn)
        found = sheet.projection_json(sampling.project(drawn, audited))
        told = {**asked.about(), **sheet.as_json(drawn), **found}
        click.echo(json.dumps(told, ensure_ascii=False, indent=2))


@audit.command()
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@click.argument("source")
@click.argument("target", type=click.Path(path_type=Path), required=False)
@_KEY
@click.option("--sizes", is_flag=True, help="A and B are sizes of the ledger, not periods.")
@BEARER
@LANGUAGE
def compare(  # noqa: PLR0913, PLR0917 - one argument for each option
    first: str,
    second: str,
    source: str,
    target: Path | None,
    vkey: str,
    sizes: bool,
    bearer: str | None,
) -> None:
    """Verify SOURCE, and tell apart what two periods A and B moved, or what two sizes held.

    A period is a year, 2025, or a month, 2025-03. With a new folder TARGET the comparison is
    written as JSON and as a workbook too. Exit codes as of `kashi audit export`.
    """
    from meter.auditor.papers import compare as comparing  # noqa: PLC0415 - slow to import
    from meter.auditor.papers.target import check_target  # noqa: PLC0415

    with _told(_COMPARE):
        sides = comparing.sides_of(first, second, are_sizes=sizes)
        if target is not None:
            check_target(target)
    with _verified(source, vkey, bearer) as log, _told(_COMPARE):
        found = comparing.compare(log, *sides, target)
        click.echo(comparing.text_of(found, log, speech()))


@audit.command()
@click.argument("source")
@_TARGET
@_KEY
@click.option("--month", required=True, help="The month of booking, 2025-03.")
@click.option("--contract", help="A contract or an award: its id.")
@click.option("--firm", help="A firm: its USCC.")
@click.option("--provider", help="A provider: its id.")
@click.option("--costs-alone", is_flag=True, help="Tell costs alone, as a provider is told.")
@click.option("--format", "form", required=True, type=click.Choice(["json", "pdf", "xlsx"]))
@_LANGUAGE_OF_PAPER
@BEARER
def statement(  # noqa: PLR0913, PLR0917 - one argument for each option
    source: str,
    target: Path,
    vkey: str,
    month: str,
    contract: str | None,
    firm: str | None,
    provider: str | None,
    costs_alone: bool,
    form: str,
    language: Language | None,
    bearer: str | None,
) -> None:
    """Verify SOURCE, and write what a month booked for one party or contract into the file TARGET.

    Each amount names its entries. Exit codes as of `kashi audit export`.
    """
    from meter.auditor.papers import statement as stating  # noqa: PLC0415 - slow to import
    from meter.auditor.papers.target import check_target  # noqa: PLC0415
    from meter.views.statement import Subject, SubjectKind  # noqa: PLC0415

    asked = {"contract": contract, "firm": firm, "provider": provider}
    named = [(kind, name) for kind, name in asked.items() if name is not None]
    if len(named) != 1:
        raise click.UsageError(say("name one of --contract, --firm and --provider"))
    subject = Subject(convert(named[0][0], SubjectKind), named[0][1], costs_alone=costs_alone)
    with _told(_WRITE):
        period = stating.month_of(month)
        check_target(target)
    with _verified(source, vkey, bearer) as log, _told(_WRITE):
        paper = stating.paper_of(log, period, subject)
        stating.write_paper(paper, convert(form, stating.Form), language or "zh", target)
        told = say(
            "{count} of {size} entries, root {root}, hash {hash}",
            count=len({line.entry for line in paper.statement.lines}),
            size=log.size,
            root=log.root,
            hash=paper.hash,
        )
        click.echo(f"{target}: {told}")


@audit.command()
@click.argument("source")
@_TARGET
@_KEY
@click.option("--key", "secret", required=True, type=FILE, help="Your Ed25519 key (PEM).")
@click.option("--auditor", required=True, help="Who reports, as the report says it.")
@_LANGUAGE_OF_PAPER
@click.option(
    "--threshold",
    "thresholds",
    multiple=True,
    metavar="RULE=NUMBER",
    help="Another threshold of a rule of exceptions. May be repeated.",
)
@BEARER
def report(  # noqa: PLR0913, PLR0917 - one argument for each option
    source: str,
    target: Path,
    vkey: str,
    secret: Path,
    auditor: str,
    language: Language | None,
    thresholds: tuple[str, ...],
    bearer: str | None,
) -> None:
    """Verify SOURCE, and write a signed report into the new folder TARGET: JSON and PDF.

    Exit codes as of `kashi audit export`. A key is made by
    `openssl genpkey -algorithm ed25519 -out auditor.pem`, and its public half by
    `openssl pkey -in auditor.pem -pubout -out auditor.pub`.
    """
    from meter.auditor.papers import report as reporting  # noqa: PLC0415 - slow to import
    from meter.auditor.papers.target import check_target  # noqa: PLC0415

    with _told(_WRITE):
        key = reporting.read_key(secret)
        made_at = format_instant(int(time.time()))
        limits = _thresholds(thresholds)
        asked = reporting.Asked(auditor, made_at, language or "zh", limits)
        check_target(target)
    with _verified(source, vkey, bearer) as log, _told(_WRITE):
        payload = reporting.payload_of(log, asked, log.verdict.note)
        reporting.write_report(payload, key, target)
        told = say("{size} entries, root {root}", size=log.size, root=log.root)
        click.echo(f"{target}: {told}")


@audit.command()
@click.argument("source")
@_TARGET
@_KEY
@click.option("--enterprise", help="All that concerns a firm: its USCC.")
@click.option("--item", help="A contract or an award: its id.")
@click.option("--claim", help="A claim, with its contract or award: its id.")
@BEARER
@LANGUAGE
def evidence(  # noqa: PLR0913, PLR0917 - one argument for each option
    source: str,
    target: Path,
    vkey: str,
    enterprise: str | None,
    item: str | None,
    claim: str | None,
    bearer: str | None,
) -> None:
    """Verify SOURCE, and write what backs a firm, an item or a claim into the new folder TARGET.

    It holds nothing of other firms, and is checked without the ledger. Exit codes as of
    `kashi audit export`.
    """
    from meter.auditor.papers import evidence as packing  # noqa: PLC0415 - slow to import
    from meter.auditor.papers.target import check_target  # noqa: PLC0415

    asked = {"enterprise": enterprise, "item": item, "claim": claim}
    named = [(kind, name) for kind, name in asked.items() if name is not None]
    if len(named) != 1:
        raise click.UsageError(say("name one of --enterprise, --item and --claim"))
    with _told(_WRITE):
        check_target(target)
    with _verified(source, vkey, bearer) as log, _told(_WRITE):
        subject = packing.subject_of(log.state, *named[0])
        count = packing.write_package(log, subject, target)
        told = say(
            "{count} of {size} entries, root {root}",
            count=count,
            size=log.size,
            root=log.root,
        )
        click.echo(f"{target}: {told}")


@audit.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--vkey", help="The log's public key; an evidence package needs it, and --log.")
@click.option("--auditor-key", type=FILE, help="Of a report: the auditor's public key (PEM).")
@click.option("--log", "source", help="Compare with the log too: a folder or a URL.")
@BEARER
@LANGUAGE
def check(
    folder: Path, vkey: str | None, auditor_key: Path | None, source: str | None, bearer: str | None
) -> None:
    """Check a report or an evidence package in FOLDER, and with --log that it is the log's.

    Exit code 0: good. 1: something was changed, or the log says otherwise. 2: not checked.
    """
    from meter.auditor.papers import evidence as packing  # noqa: PLC0415 - slow to import
    from meter.auditor.papers import report as reporting  # noqa: PLC0415
    from meter.auditor.verdict import read_key  # noqa: PLC0415

    if source is not None and vkey is None:
        raise click.UsageError(say("--log needs --vkey"))
    is_report = auditor_key is not None or (folder / reporting.JSON_NAME).exists()
    payload = b""
    if is_report and auditor_key is None:
        raise click.UsageError(say("a report needs --auditor-key"))
    if not is_report and vkey is None:
        raise click.UsageError(say("an evidence package needs --vkey"))
    with _told(_CHECK):
        if auditor_key is not None and is_report:
            payload = reporting.read_report(folder, reporting.read_public_key(auditor_key))
            said = say("good: {folder} is as it was signed", folder=folder)
        elif vkey is not None:
            count = packing.check_package(folder, read_key(vkey))
            said = say("good: {folder}: {count} entries are in the log", folder=folder, count=count)
    if source is not None and vkey is not None:
        with _verified(source, vkey, bearer) as log, _told(_CHECK):
            if is_report:
                reporting.compare(payload, log)
            else:
                packing.compare(folder, log)
        said += say(", and it is as the log says")
    click.echo(said)


@audit.command("access-log")
@click.argument("file", metavar="CSV", type=FILE)
@click.argument("source", metavar="LOG")
@_KEY
@BEARER
@LANGUAGE
def access_log(file: Path, source: str, vkey: str, bearer: str | None) -> None:
    """Verify LOG, a folder or a URL, and check days of the access log against it.

    CSV is what the console gives for whole days, unfiltered. Exit code 0: each is as it was. 1: one
    is not, or the log is violated. 2: not checked, as where a day has no digest yet.
    """
    from meter.auditor.papers import access_log as accesses  # noqa: PLC0415 - slow to import

    with ExitStack() as held:
        with _told(_CHECK):
            lines = held.enter_context(file.open(encoding="utf-8-sig", newline=""))
            days = accesses.read_days(lines)
        log = held.enter_context(_verified(source, vkey, bearer))
        held.enter_context(_told(_CHECK))
        for good in accesses.check(log, days):
            told = say(
                "good: {day}: {rows} rows, as entry {entry} says",
                day=good.day,
                rows=good.rows,
                entry=good.entry,
            )
            click.echo(told)


def _thresholds(texts: tuple[str, ...]) -> dict[str, int]:
    """Return thresholds by rule. Raises `ValueError`."""
    found = {}
    for text in texts:
        name, _, value = text.partition("=")
        if not value.isdecimal():
            raise ValueError(worded(f"not RULE=NUMBER: {text!r:.80}"))
        found[name] = int(value)
    return found


@contextmanager
def _verified(source: str, vkey: str, bearer: str | None) -> Iterator["VerifiedLog"]:
    """Yield the log where it is good; say what is wrong, and exit, where it is not."""
    from meter.auditor.papers.log import NotGood, verified  # noqa: PLC0415 - slow to import
    from meter.auditor.verdict import show  # noqa: PLC0415

    try:
        with (
            progress_bar(say("verifying")) as advance,
            verified(source, vkey, bearer, advance) as log,
        ):
            yield log
    except NotGood as found:
        show(found.verdict, OUT, speech())
        sys.exit(EXIT_CODES[found.verdict.conclusion])
    except (LedgerError, OSError) as error:
        complain(say(_CHECK, error=error))
        sys.exit(NOT_CHECKED)


@contextmanager
def _told(failure: str) -> Iterator[None]:
    """Say why a work could not be done, and exit: 1 would say that the log is violated."""
    try:
        yield
    except Violation as violation:
        complain(say("VIOLATED: {line}", line=speech().retell(str(violation))))
        sys.exit(VIOLATED)
    except (LedgerError, Problem, OSError, ValueError) as error:
        complain(say(failure, error=error))
        sys.exit(NOT_CHECKED)
