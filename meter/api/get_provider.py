"""GET, for providers: their batches' receipts, missing numbers, records, and refusals.

A batch is named by the hex sha256 of its payload, which its sender can compute before any response.
"""

from typing import Annotated, Any, Final, Literal

from aiohttp import web
from msgspec import UNSET, Meta, Struct

from ledger import canon
from ledger.canon import MAX_INTEGER
from meter.api.cursor import PageQuery, page_fields, place
from meter.api.one_size import BEGIN
from meter.api.past import CODES, PastQuery, shown
from meter.api.post_usage import SIGNATURE
from meter.api.responses import (
    BatchPage,
    BatchView,
    DifferingLine,
    Gap,
    GapPage,
    ReceiptKeyView,
    RejectedPage,
    RejectedView,
    ReportedPage,
    ReportedView,
    StreamPage,
    StreamView,
    SummaryPage,
    SummaryView,
    content_of,
)
from meter.api.routes import Ask, Handler, Route, with_etag
from meter.rules.entries import (
    AcceptedEntry,
    BatchAccepted,
    DaySummarised,
    PurchaseAccepted,
    RecordVoided,
)
from meter.rules.kinds.table import read_entry
from meter.tables import pages
from meter.tables.registry import Registered
from meter.values.problems import Problem
from meter.values.roles import OFFICIALS
from meter.values.units import format_moment
from meter.wire.advice import ADVICE
from meter.wire.dsse import Document
from meter.wire.receipt import PASSING_CODES, Receipt
from meter.wire.summary import Runs, Scheduler


class ReportedQuery(PastQuery, frozen=True):
    """A page of records; `run` asks for those whose id is `<run>:` and more."""

    run: Annotated[str, Meta(pattern=r"^[\x21-\x7e]{0,128}\Z")] = ""


async def get_receipt(ask: Ask) -> web.Response:
    """The stored receipt of a batch, byte for byte, with its signature."""
    async with ask.reading() as connection:
        found = await pages.receipt(connection, ask.path("digest"))
    if found is None:
        raise Problem("not_found", f"no batch {ask.path('digest')}")
    ask.must_be_theirs(provider=found.provider)
    response = with_etag(ask.request, found.receipt)
    response.headers[SIGNATURE] = found.signature
    return response


async def get_envelope(ask: Ask) -> web.Response:
    """The signed envelope as it came; also that of a batch whose number held another."""
    async with ask.reading() as connection:
        found = await pages.envelope(connection, ask.path("digest"))
    if found is None:
        raise Problem("not_found", f"no batch {ask.path('digest')}")
    provider, envelope = found
    ask.must_be_theirs(provider=provider)
    return with_etag(ask.request, envelope)


async def get_streams(ask: Ask) -> StreamPage:
    """A provider's streams by name."""
    after = place(ask, ("",))
    async with ask.reading() as connection:
        head, known = await ask.context.snapshot(connection)
        _check_provider(ask, known)
        page = await pages.streams(connection, ask.path("provider"), after, ask.query.limit)
    return StreamPage(
        streams=[_stream(each) for each in page.items],
        **page_fields(ask, head, page, lambda each: (each.name,), after),
    )


async def get_stream(ask: Ask) -> GapPage:
    """One stream and its gaps."""
    provider, name = ask.path("provider"), ask.path("stream")
    after = place(ask, (0,))
    async with ask.reading() as connection:
        head, known = await ask.context.snapshot(connection)
        _check_provider(ask, known)
        stream = await pages.stream(connection, provider, name)
        page = await pages.gaps(connection, provider, name, after, ask.query.limit)
    if stream is None:
        raise Problem("not_found", f"{provider} has no stream {name}")
    last, batches, missing = _counts(stream)
    return GapPage(
        stream=name,
        last=last,
        batches=batches,
        missing=missing,
        gaps=[Gap(*each) for each in page.items],
        **page_fields(ask, head, page, lambda each: (each[1],), after),
    )


async def get_batches(ask: Ask) -> BatchPage:
    """A stream's batches, the highest number first."""
    provider, name = ask.path("provider"), ask.path("stream")
    after = place(ask, (MAX_INTEGER,))
    async with ask.reading() as connection:
        head, known = await ask.context.snapshot(connection)
        _check_provider(ask, known)
        stream = await pages.stream(connection, provider, name)
        page = await pages.batches(connection, provider, name, after, ask.query.limit)
    if stream is None:
        raise Problem("not_found", f"{provider} has no stream {name}")
    return BatchPage(
        batches=[_batch(each) for each in page.items],
        **page_fields(ask, head, page, lambda each: (each.seq,), after),
    )


async def get_summaries(ask: Ask) -> SummaryPage:
    """The newest summary of each day of a provider's streams."""
    after = place(ask, ("", -1))
    async with ask.reading() as connection:
        head, known = await ask.context.snapshot(connection)
        _check_provider(ask, known)
        page = await pages.summaries(connection, ask.path("provider"), after, ask.query.limit)
    return SummaryPage(
        summaries=[_summary(each) for each in page.items],
        **page_fields(ask, head, page, lambda each: (each.stream, each.day), after),
    )


async def get_rejected(ask: Ask) -> RejectedPage:
    """What was refused of a provider's batches, and what to do about it."""
    after = place(ask, (-1, -1, 0))
    async with ask.reading() as connection:
        head, known = await ask.context.snapshot(connection)
        _check_provider(ask, known)
        page = await pages.rejected(connection, ask.path("provider"), after, ask.query.limit)
    return RejectedPage(
        rejected=[_rejected(each) for each in page.items],
        **page_fields(ask, head, page, lambda each: each.key, after),
    )


async def get_reported(ask: Ask) -> ReportedPage:
    """A provider's accepted records by id, of one run if it is named: what a lost spool held."""
    after, size = place(ask, ("", BEGIN))
    async with ask.reading() as connection:
        head, known, _, size = await shown(ask, connection, size)
        _check_provider(ask, known)
        page = await pages.reported(
            connection, ask.path("provider"), ask.query.run, after, ask.query.limit
        )
    found = (each.as_of(head.size) for each in page.items if each.entry < head.size)
    return ReportedPage(
        records=[_reported(each) for each in found],
        **page_fields(ask, head, page, lambda each: (each.id, size), (after, size)),
    )


async def get_receipt_key(ask: Ask) -> ReceiptKeyView:
    """The newest key that signs receipts."""
    await ask.context.catch_up()
    keyid, public_key = ask.context.registry.now.receipt_key()
    return ReceiptKeyView(keyid, "ed25519", public_key)


def _reported(held: pages.Reported) -> ReportedView:
    accepted = read_entry(canon.decode(held.data))
    assert isinstance(accepted, AcceptedEntry), "meter.record points at such entries"
    void = None if held.void is None else read_entry(canon.decode(held.void))
    assert void is None or isinstance(void, RecordVoided), "meter.record points at voids"
    return ReportedView(
        entry=held.entry,
        id=accepted.id,
        contract=accepted.contract,
        **content_of(accepted),
        **_opaque(accepted),
        voided=UNSET if held.voided is None else held.voided,
        voided_by=UNSET if void is None else _side(void),
    )


def _summary(held: pages.Summary) -> SummaryView:
    entry = read_entry(canon.decode(held.data))
    assert isinstance(entry, DaySummarised), "meter.summary points at such entries"
    return SummaryView(
        entry=held.entry,
        stream=entry.stream,
        day=entry.day,
        replaces=entry.replaces,
        records=entry.records,
        device_seconds=entry.device_seconds,
        told_records=entry.told_records,
        told_device_seconds=entry.told_device_seconds,
        lines=entry.lines,
        differing=entry.differing,
        differs=[DifferingLine(*line) for line in entry.differs],
        scheduler=Scheduler(**{name: Runs(*told) for name, told in entry.scheduler.items()}),
    )


def _batch(held: pages.Batch) -> BatchView:
    entry = read_entry(canon.decode(held.data))
    assert isinstance(entry, BatchAccepted), "meter.batch points at such entries"
    return BatchView(
        seq=held.seq,
        entry=held.entry,
        time=format_moment(entry.at),
        batch=held.payload,
        records=entry.records,
        purchases=entry.purchases,
        voids=entry.voids,
    )


def _opaque(accepted: AcceptedEntry) -> dict[str, Any]:
    """Return what a record told beside its usage, which decides nothing."""
    if isinstance(accepted, PurchaseAccepted):
        return {}
    return {"run": accepted.run, "state": accepted.state, "final": accepted.final}


def _side(void: RecordVoided) -> Literal["provider", "authority"]:
    return "authority" if void.batch is UNSET else "provider"


def _check_provider(ask: Ask, known: Registered) -> None:
    if known.provider(ask.path("provider")) is None:
        raise Problem("unknown_provider", f"no provider {ask.path('provider')}")


def _stream(stream: pages.Stream) -> StreamView:
    assert stream.last_at is not None, "its newest batch is committed"
    return StreamView(stream.name, *_counts(stream), format_moment(stream.last_at))


def _counts(stream: pages.Stream) -> tuple[int, int, int]:
    return stream.last, stream.batches, stream.last - stream.batches


def _rejected(refusal: pages.Refusal) -> RejectedView:
    conflict = refusal.code in ("conflict", "seq_conflict")
    return RejectedView(
        batch=refusal.payload,
        stream=refusal.stream,
        seq=refusal.seq,
        what=refusal.what,
        id=refusal.id,
        contract=refusal.contract or "",
        status="conflict" if conflict else "rejected",
        code=refusal.code,
        detail=refusal.detail,
        retry=refusal.what in ("record", "purchase") and refusal.code in PASSING_CODES,
        advice=ADVICE[refusal.what, refusal.code],
    )


def _batch_route(path: str, handler: Handler, summary: str, response: type[Struct]) -> Route:
    roles = (*OFFICIALS, "provider")
    return Route("GET", path, handler, summary, response, roles=roles, is_large=True)


def _page_route(path: str, handler: Handler, summary: str, response: type[Struct]) -> Route:
    return Route(
        "GET",
        f"/v1/providers/{{provider}}/{path}",
        handler,
        summary,
        response,
        roles=(*OFFICIALS, "provider"),
        query=PageQuery,
        codes=("unknown_provider",),
    )


ROUTES: Final = [
    _batch_route("/v1/batches/{digest}", get_receipt, "The receipt of a batch", Receipt),
    _batch_route(
        "/v1/batches/{digest}/envelope", get_envelope, "A batch as it was signed", Document
    ),
    _page_route("streams", get_streams, "A provider's streams", StreamPage),
    _page_route("streams/{stream}", get_stream, "A stream and its gaps", GapPage),
    _page_route("streams/{stream}/batches", get_batches, "The batches of a stream", BatchPage),
    _page_route("summaries", get_summaries, "Days that were summed up", SummaryPage),
    _page_route("rejected", get_rejected, "Refusals, and what to do about them", RejectedPage),
    Route(
        "GET",
        "/v1/providers/{provider}/records",
        get_reported,
        "A provider's accepted records",
        ReportedPage,
        roles=(*OFFICIALS, "provider"),
        query=ReportedQuery,
        codes=("unknown_provider", *CODES),
    ),
    Route(
        "GET",
        "/v1/receipt-key",
        get_receipt_key,
        "The newest key that signs receipts",
        ReceiptKeyView,
    ),
]
