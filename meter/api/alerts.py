"""Alerts of whoever asks: where they go, what was sent, and the key that signs webhooks.

Targets and messages belong to one token or person. Nobody sees or changes another's. What is asked
for again with one `Idempotency-Key` is done once; the response shows what it is by then. All of it
is done in the token's turn, as its reads are.
"""

import base64
from typing import Final, TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from msgspec import UNSET, Struct

from meter.api.alert_responses import (
    AddTarget,
    AlertsView,
    AlertView,
    AttemptView,
    ReplayAlert,
    TargetView,
    TestTarget,
    TurnTarget,
    WebhookKeyView,
)
from meter.api.post import MAX_COMMAND_BYTES, idempotency_key
from meter.api.routes import Ask, Route
from meter.host.destinations import Choice
from meter.host.sign_in import new_secret
from meter.host.tokens import Identity
from meter.http.bodies import BODIES
from meter.tables.alerts import Delivery, Target
from meter.values.problems import Problem
from meter.values.roles import Role
from meter.values.strict import decode_request
from meter.values.units import format_moment
from meter.views.crossings import KINDS

B = TypeVar("B", bound=Struct)

EVERYBODY: Final[tuple[Role, ...]] = ("authority", "auditor", "provider", "enterprise")


async def get_webhook_key(ask: Ask) -> WebhookKeyView:
    """The key that signs webhooks."""
    raw = await ask.context.alerts.webhook_key()
    key = Ed25519PublicKey.from_public_bytes(raw)
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    return WebhookKeyView(f"whpk_{base64.b64encode(raw).decode()}", pem)


async def get_alerts(ask: Ask) -> AlertsView:
    """Where alerts of the token or person go, and the newest ones."""
    who, book = _who(ask), ask.context.alerts
    async with ask.turn():
        return AlertsView(
            kinds=list(KINDS[who.role]),
            targets=[_target(each) for each in await book.targets(who)],
            alerts=[_alert(each) for each in await book.deliveries(who)],
        )


async def post_target(ask: Ask) -> TargetView:
    """Add a target."""
    body, key, now = await _asked(ask, AddTarget)
    choice = Choice(body.means, body.language, body.kinds)
    async with ask.turn():
        return _target(await ask.context.alerts.add(_who(ask), choice, body.address, key, now))


async def post_test(ask: Ask) -> AlertView:
    """Send a test to a target."""
    body, key, now = await _asked(ask, TestTarget)
    async with ask.turn():
        return _alert(await ask.context.alerts.test(_who(ask), body.target, key, now))


async def post_turn(ask: Ask) -> TargetView:
    """Turn a target on or off."""
    body, key, now = await _asked(ask, TurnTarget)
    book, who = ask.context.alerts, _who(ask)
    async with ask.turn():
        return _target(await book.turn(who, body.target, key, now, is_on=body.on))


async def post_replay(ask: Ask) -> AlertView:
    """Send a message again."""
    body, key, now = await _asked(ask, ReplayAlert)
    async with ask.turn():
        return _alert(await ask.context.alerts.send_again(_who(ask), body.alert, key, now))


async def _asked(ask: Ask, kind: type[B]) -> tuple[B, str, int]:
    """Return what a request asks for, its key or a fresh one, and the time. Raises `malformed`."""
    key = idempotency_key(ask.request) or new_secret()
    data = await ask.request.app[BODIES].read(ask.request, MAX_COMMAND_BYTES)
    try:
        body = decode_request(data or b"{}", kind, ask.path_names())
    except ValueError as error:
        raise Problem("malformed", str(error)) from None
    return body, key, ask.context.clock.counted()


def _who(ask: Ask) -> Identity:
    assert ask.who is not None, "the route is not public"
    return ask.who


def _target(target: Target) -> TargetView:
    return TargetView(
        id=target.id,
        means=target.means,
        address=target.address,
        language=target.language,
        kinds=list(target.kinds),
        off=UNSET if target.off_at is None else format_moment(target.off_at),
        why=target.off_why or UNSET,
    )


def _alert(held: Delivery) -> AlertView:
    attempts = [
        AttemptView(format_moment(each.at), each.is_taken, each.detail, each.ms)
        for each in held.attempts
    ]
    return AlertView(
        id=held.id,
        target=held.target,
        kind=held.kind,
        time=format_moment(held.made_at),
        status=held.status,
        next=UNSET if held.due_at is None else format_moment(held.due_at),
        attempts=attempts,
        body=held.body.decode(),
    )


ROUTES: Final = [
    Route("GET", "/v1/webhook-key", get_webhook_key, "The key that signs webhooks", WebhookKeyView),
    Route(
        "GET",
        "/v1/alerts",
        get_alerts,
        "One's own targets of alerts, and what was sent to them",
        AlertsView,
        roles=EVERYBODY,
    ),
    Route(
        "POST",
        "/v1/alerts/targets",
        post_target,
        "Add a target of alerts",
        TargetView,
        roles=EVERYBODY,
        body=AddTarget,
        codes=("idempotency_conflict", "bad_target", "too_many_targets"),
    ),
    Route(
        "POST",
        "/v1/alerts/targets/{target}/test",
        post_test,
        "Send a test to a target",
        AlertView,
        roles=EVERYBODY,
        body=TestTarget,
        codes=("idempotency_conflict", "target_off"),
    ),
    Route(
        "POST",
        "/v1/alerts/targets/{target}/turn",
        post_turn,
        "Turn a target on or off; on, it is sent what it has not taken",
        TargetView,
        roles=EVERYBODY,
        body=TurnTarget,
        codes=("idempotency_conflict",),
    ),
    Route(
        "POST",
        "/v1/alerts/{alert}/replay",
        post_replay,
        "Send a message again, under its id",
        AlertView,
        roles=EVERYBODY,
        body=ReplayAlert,
        codes=("idempotency_conflict", "target_off"),
    ),
]
