"""POST: the provider's batches, and the authority's commands.

A command's fields stand in the body, or in the URL where the URL names the thing. Where money
moves, `Idempotency-Key` is required; elsewhere it is welcome.
"""

import asyncio
import contextlib
import re
import time
from typing import Final, Literal

from aiohttp import web
from msgspec import UNSET, Struct, UnsetType

from meter.api.context import authenticate
from meter.api.responses import MadeEntry
from meter.api.routes import Ask, Handler, Route
from meter.host import logs
from meter.host.turns import NOBODY, Share
from meter.host.watermark import Watermark
from meter.http.bodies import BODIES
from meter.rules.commands import (
    ActivatePolicy,
    AddLogKey,
    AddReceiptKey,
    Command,
    EnlistProvider,
    FreezeContract,
    IssueCoupon,
    RegisterContract,
    RegisterEnterprise,
    RegisterKey,
    RegisterProvider,
    ReleaseRecord,
    RetireLogKey,
    RetireReceiptKey,
    RevokeKey,
    UnfreezeContract,
    VoidRecord,
    WithdrawCoupon,
)
from meter.rules.kinds.table import BY_COMMAND
from meter.rules.verified import verified
from meter.values.policy import shipped_text
from meter.values.problems import Problem
from meter.values.strict import Lines, decode_request
from meter.wire.batch import MAX_BATCH_BYTES, SignedBatch
from meter.wire.dsse import Document
from meter.wire.receipt import EntryRange, Receipt

IDEMPOTENCY_KEY: Final = "Idempotency-Key"
REPLAYED: Final = "Idempotent-Replayed"
SIGNATURE: Final = "Kashi-Signature"
MAX_COMMAND_BYTES: Final = 256 * 1024
# Usually it takes a quarter of a second. Beyond this limit the disk is slow, and connections
# scarce.
PUBLISHED_SECONDS: Final = 10.0

# An envelope is work before anybody knows whose it is. All that turn out to be no good may take so
# much of the time: a tenth, and some of the largest before that.
ENVELOPES: Final = web.AppKey("envelopes", Share)
ENVELOPES_SHARE: Final = 0.1
ENVELOPES_CREDIT_SECONDS: Final = 1.0

_KEY: Final = re.compile(r"[\x21-\x7e]{1,128}")


class UsageQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """What the response waits for beside the commit."""

    wait: Literal["published"] | UnsetType = UNSET


async def post_usage(ask: Ask) -> web.Response:
    """Take a signed batch; the response is its signed receipt, once the commit is durable."""
    context = ask.context
    await _payer(ask)  # before the body, which may be large
    data = await ask.request.app[BODIES].read(ask.request, MAX_BATCH_BYTES)
    signed = _verify(ask, data, await _payer(ask))
    logs.about_request(batch=signed.payload_sha256)
    stored = await context.submissions.batch(signed)
    if ask.query.wait == "published":
        await _wait_until_published(context.published, stored.entries)
    return web.Response(
        body=stored.receipt,
        content_type="application/json",
        headers={SIGNATURE: stored.signature},
    )


async def _payer(ask: Ask) -> str:
    """Return who pays if the envelope is no good: nobody while there is room, else the token.

    Raises `Problem` `busy`.
    """
    share = ask.request.app[ENVELOPES]
    if not share.is_used_up(NOBODY):
        return NOBODY
    with contextlib.suppress(Problem):
        token_id = (await authenticate(ask.request)).token_id
        if not share.is_used_up(token_id):
            return token_id
    raise Problem("busy", "too many envelopes are no good: send yours with a token, or later")


def _verify(ask: Ask, data: bytes, payer: str) -> SignedBatch:
    """Return the batch of an envelope; one that is no good is charged to its payer."""
    metrics, began = ask.context.metrics, time.thread_time()
    try:
        with metrics.signature_seconds.labels("verify").time():
            return verified(ask.context.registry.now.state.keys, data)
    except Problem as problem:
        seconds = time.thread_time() - began
        ask.request.app[ENVELOPES].charge(payer, seconds)
        if payer == NOBODY:
            metrics.anonymous_seconds.labels("envelope").inc(seconds)
        metrics.batches.labels(problem.code).inc()
        raise


async def _wait_until_published(published: Watermark, entries: EntryRange) -> None:
    """Wait until a checkpoint covers all entries of a batch. Raises `not_published`."""
    last = entries.first + entries.count - 1
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(PUBLISHED_SECONDS):
            await published.beyond(last)
    if published.size <= last:
        raise Problem("not_published", f"the batch is committed up to entry {last}")


def _handler_of(kind: type[Command]) -> Handler:
    """Return the handler of one kind of command."""

    async def post_command(ask: Ask) -> web.Response:
        assert ask.who is not None, "commands are not public"
        key = _idempotency_key(ask.request, kind)
        command = await _read_command(ask.request, kind)
        answer = await ask.context.submissions.command(command, ask.who.token_id, key)
        return web.Response(
            body=answer.body,
            status=answer.status,
            content_type="application/json",
            headers={REPLAYED: "true"} if answer.replayed else None,
        )

    return post_command


def _idempotency_key(request: web.Request, kind: type[Command]) -> str | None:
    key = request.headers.get(IDEMPOTENCY_KEY)
    if key is None:
        if BY_COMMAND[kind].moves_money:
            raise Problem("idempotency_key_needed", "send a fresh key with each new command")
        return None
    if not _KEY.fullmatch(key) or key.startswith("auto-"):
        raise Problem("malformed", f"{IDEMPOTENCY_KEY} is 1 to 128 visible ASCII, not 'auto-…'")
    return key


async def _read_command(request: web.Request, kind: type[Command]) -> Command:
    body = await request.app[BODIES].read(request, MAX_COMMAND_BYTES)
    try:
        command = decode_request(body or b"{}", kind, request.match_info)
    except ValueError as error:
        raise Problem("malformed", str(error)) from None
    if isinstance(command, ActivatePolicy) and command.content is UNSET:
        text = shipped_text(command.programme, command.version)
        return ActivatePolicy(
            programme=command.programme,
            version=command.version,
            content=Lines(text),
            reason=command.reason,
        )
    return command


# The URL of each command, and what it does; codes, body and roles follow from its kind.
COMMANDS: Final[dict[type[Command], tuple[str, str]]] = {
    ActivatePolicy: ("/v1/policies", "Put a policy in force and open its pools"),
    RegisterProvider: ("/v1/providers", "Enlist a provider"),
    EnlistProvider: (
        "/v1/providers/{provider}/enlistments",
        "Enlist more devices, or move the end of an enlistment",
    ),
    RegisterKey: ("/v1/providers/{provider}/keys", "Register a provider's signing key"),
    RevokeKey: ("/v1/keys/{keyid}/revoke", "Take no new batch under a key"),
    AddLogKey: ("/v1/log-keys", "Sign checkpoints with a further key"),
    RetireLogKey: ("/v1/log-keys/retire", "Sign no further checkpoint with a key"),
    AddReceiptKey: ("/v1/receipt-keys", "Sign receipts with a further key"),
    RetireReceiptKey: ("/v1/receipt-keys/retire", "Sign no further receipt with a key"),
    RegisterEnterprise: ("/v1/enterprises", "Register who may be funded"),
    RegisterContract: ("/v1/contracts", "Register a compute service contract"),
    FreezeContract: ("/v1/contracts/{contract}/freeze", "Refuse new records of a contract"),
    UnfreezeContract: ("/v1/contracts/{contract}/unfreeze", "Take a contract's records again"),
    IssueCoupon: ("/v1/coupons", "Issue money from the pool to an enterprise's coupon"),
    WithdrawCoupon: ("/v1/coupons/withdraw", "Take back what a coupon has not granted"),
    VoidRecord: ("/v1/records/void", "Take a record back, at any age"),
    ReleaseRecord: ("/v1/records/release", "Let the withheld part of a record count"),
}
if set(COMMANDS) != set(BY_COMMAND):
    raise TypeError(f"no URL, or no kind: {set(COMMANDS) ^ set(BY_COMMAND)}")


def _command(command: type[Command]) -> Route:
    path, summary = COMMANDS[command]
    kind = BY_COMMAND[command]
    needed = ("idempotency_key_needed",) if kind.moves_money else ()
    return Route(
        "POST",
        path,
        _handler_of(command),
        summary,
        MadeEntry,
        roles=("authority",),
        body=command,
        codes=("idempotency_conflict", *needed, *kind.codes),
    )


ROUTES: Final = [
    Route(
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
    ),
    *map(_command, COMMANDS),
]
