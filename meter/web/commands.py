"""POST: the provider's batches, and the authority's commands.

A command's fields stand in the body, or in the URL where the URL names the thing. Where money
moves, `Idempotency-Key` is required; elsewhere it is welcome.
"""

import re
from typing import Final

from aiohttp import web
from msgspec import UNSET

from meter.commands import (
    ActivatePolicy,
    Command,
    EnlistProvider,
    FreezeContract,
    IssueCoupon,
    RegisterContract,
    RegisterEnterprise,
    RegisterKey,
    RegisterProvider,
    ReleaseRecord,
    RevokeKey,
    UnfreezeContract,
    VoidRecord,
    WithdrawCoupon,
)
from meter.policies import shipped_text
from meter.problems import Problem
from meter.strict import Lines, decode
from meter.web.context import CONTEXT, authorise

IDEMPOTENCY_KEY: Final = "Idempotency-Key"
SIGNATURE: Final = "Kashi-Signature"
MAX_COMMAND_BYTES: Final = 256 * 1024

_KEY: Final = re.compile(r"[\x21-\x7e]{1,128}")
_MOVES_MONEY: Final = (IssueCoupon, WithdrawCoupon, VoidRecord, ReleaseRecord)

_COMMANDS: Final[dict[str, type[Command]]] = {
    "/v1/policies": ActivatePolicy,
    "/v1/providers": RegisterProvider,
    "/v1/providers/{provider}/enlistments": EnlistProvider,
    "/v1/providers/{provider}/keys": RegisterKey,
    "/v1/keys/{keyid}/revoke": RevokeKey,
    "/v1/enterprises": RegisterEnterprise,
    "/v1/contracts": RegisterContract,
    "/v1/contracts/{contract}/freeze": FreezeContract,
    "/v1/contracts/{contract}/unfreeze": UnfreezeContract,
    "/v1/coupons": IssueCoupon,
    "/v1/coupons/withdraw": WithdrawCoupon,
    "/v1/records/void": VoidRecord,
    "/v1/records/release": ReleaseRecord,
}


async def post_usage(request: web.Request) -> web.Response:
    """Take a signed batch; the answer is its receipt, signed, after the commit is durable."""
    stored = await request.app[CONTEXT].intake.usage(await request.read())
    return web.Response(
        body=stored.receipt,
        content_type="application/json",
        headers={SIGNATURE: stored.signature},
    )


async def post_command(request: web.Request) -> web.Response:
    """Carry out the command that the URL stands for."""
    token_id = await authorise(request)
    resource = request.match_info.route.resource
    assert resource is not None, "the handler stands behind routes only"
    kind = _COMMANDS[resource.canonical]
    key = _idempotency_key(request, kind)
    command = await _read_command(request, kind)
    answer = await request.app[CONTEXT].intake.command(command, token_id, key)
    return web.Response(body=answer.body, status=answer.status, content_type="application/json")


def _idempotency_key(request: web.Request, kind: type[Command]) -> str | None:
    key = request.headers.get(IDEMPOTENCY_KEY)
    if key is None:
        if kind in _MOVES_MONEY:
            raise Problem("idempotency_key_needed", "send a fresh key with each new command")
        return None
    if not _KEY.fullmatch(key) or key.startswith("auto-"):
        raise Problem("malformed", f"{IDEMPOTENCY_KEY} is 1 to 128 visible ASCII, not 'auto-…'")
    return key


async def _read_command(request: web.Request, kind: type[Command]) -> Command:
    body = await request.read() if (request.content_length or 0) <= MAX_COMMAND_BYTES else None
    if body is None or len(body) > MAX_COMMAND_BYTES:  # a chunked body tells no length
        raise Problem("too_large", f"more than {MAX_COMMAND_BYTES} bytes")
    try:
        command = decode(body or b"{}", kind, request.match_info)
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


ROUTES: Final = [
    web.post("/v1/usage", post_usage),
    *(web.post(path, post_command) for path in _COMMANDS),
]
