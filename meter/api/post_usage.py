"""POST of the providers' signed batches, which are most of what a service is asked.

Most posts stand at the bare URL. Those reach `Posts.respond` at once, without looking through the
routes; `post_usage` is the route for all others, and differs in nothing but that.
"""

import asyncio
import contextlib
import time
from typing import Final, Literal

from aiohttp import hdrs, web
from msgspec import UNSET, Struct, UnsetType

from meter.api.context import Context, authenticate
from meter.api.routes import Ask, Route
from meter.host import logs
from meter.host.turns import NOBODY, Share
from meter.host.watermark import Watermark
from meter.http.bodies import Bodies
from meter.rules.state import StoredBatch
from meter.rules.verified import verified
from meter.values.problems import Problem
from meter.wire.batch import MAX_BATCH_BYTES, SignedBatch
from meter.wire.dsse import Document
from meter.wire.receipt import EntryRange, Receipt

SIGNATURE: Final = "Kashi-Signature"
# Usually it takes a quarter of a second. Beyond this limit the disk is slow, and connections
# scarce.
PUBLISHED_SECONDS: Final = 10.0

# An envelope is work before anybody knows whose it is. All that turn out to be no good may take so
# much of the time: a tenth, and some of the largest before that.
ENVELOPES_SHARE: Final = 0.1
ENVELOPES_CREDIT_SECONDS: Final = 1.0


class UsageQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """What the response waits for beside the commit."""

    wait: Literal["published"] | UnsetType = UNSET


class Posts:
    """What takes signed batches. Owns the account of the envelopes that were no good."""

    def __init__(self, context: Context, bodies: Bodies) -> None:
        self._context = context
        self._bodies = bodies
        self._envelopes = Share(ENVELOPES_SHARE, ENVELOPES_CREDIT_SECONDS)

    async def respond(self, request: web.Request, query: UsageQuery | None = None) -> web.Response:
        """Take a signed batch; the response is its receipt, once the commit is durable."""
        await self._payer(request)  # before the body, which may be large
        data = await self._bodies.read(request, MAX_BATCH_BYTES)
        signed = await self._verify(request, data, await self._payer(request))
        try:
            stored = await self._context.submissions.batch(signed)
            if query is not None and query.wait == "published":
                await _wait_until_published(self._context.published, stored.entries)
        except Exception:
            logs.about_request(batch=signed.payload_sha256)
            raise
        return _response(stored)

    async def _payer(self, request: web.Request) -> str:
        """Return who pays if the envelope is no good: nobody while there is room, else the token.

        Raises `Problem` `busy`.
        """
        if not self._envelopes.is_used_up(NOBODY):
            return NOBODY
        with contextlib.suppress(Problem):
            token_id = (await authenticate(self._context, request)).token_id
            if not self._envelopes.is_used_up(token_id):
                return token_id
        raise Problem("busy", "too many envelopes are no good: send yours with a token, or later")

    async def _verify(self, request: web.Request, data: bytes, payer: str) -> SignedBatch:
        """Return the batch of an envelope; one that is no good is charged to its payer."""
        metrics, began = self._context.metrics, time.thread_time()
        try:
            signed = verified(self._context.registry.now.state.keys, data)
        except Problem as problem:
            seconds = time.thread_time() - began
            metrics.verify_seconds.observe(seconds)
            if problem.code == "bad_signature" and await self._has_learnt_keys():
                return await self._verify(request, data, payer)
            self._envelopes.charge(payer, seconds)
            if payer == NOBODY:
                metrics.anonymous_seconds.labels("envelope").inc(seconds)
            metrics.batches.labels(problem.code).inc()
            raise
        metrics.verify_seconds.observe(time.thread_time() - began)
        return signed

    async def _has_learnt_keys(self) -> bool:
        """Return whether keys are registered that were not known here; no key ever goes."""
        before = len(self._context.registry.now.state.keys)
        await self._context.catch_up()
        return len(self._context.registry.now.state.keys) > before


POSTS: Final = web.AppKey("posts", Posts)


async def post_usage(ask: Ask) -> web.Response:
    """Take a signed batch, which may wait to be published."""
    return await ask.request.app[POSTS].respond(ask.request, ask.query)


async def _wait_until_published(published: Watermark, entries: EntryRange) -> None:
    """Wait until a checkpoint covers all entries of a batch. Raises `not_published`."""
    last = entries.first + entries.count - 1
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(PUBLISHED_SECONDS):
            await published.beyond(last)
    if published.size <= last:
        raise Problem("not_published", f"the batch is committed up to entry {last}")


def _response(stored: StoredBatch) -> web.Response:
    headers = {hdrs.CONTENT_TYPE: "application/json", SIGNATURE: stored.signature}
    return web.Response(body=stored.receipt, headers=headers)


USAGE: Final = Route(
    "POST",
    "/v1/usage",
    post_usage,
    "Post a signed batch of usage records; the receipt answers it",
    Receipt,
    query=UsageQuery,
    body=Document,
    codes=(
        "bad_envelope",
        "bad_batch",
        "bad_signature",
        "key_revoked",
        "provider_mismatch",
        "wrong_log",
        "wrong_genesis",
        "seq_conflict",
        "looks_alike",
        "not_published",
    ),
)
ROUTES: Final = [USAGE]
