"""Alerts of whoever asks: where they go, what was sent, and the key that signs webhooks.

Targets and messages belong to one token or person. Nobody sees or changes another's.
"""

import base64
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from msgspec import UNSET

from meter.api.alert_responses import (
    AlertsView,
    AlertView,
    AttemptView,
    TargetView,
    WebhookKeyView,
)
from meter.api.routes import Ask, Route
from meter.tables.alerts import Delivery, Target
from meter.values.roles import Role
from meter.values.units import format_moment
from meter.views.crossings import KINDS

EVERYBODY: Final[tuple[Role, ...]] = ("authority", "auditor", "provider", "enterprise")


async def get_webhook_key(ask: Ask) -> WebhookKeyView:
    """The key that signs webhooks."""
    raw = await ask.context.alerts.webhook_key()
    key = Ed25519PublicKey.from_public_bytes(raw)
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    return WebhookKeyView(f"whpk_{base64.b64encode(raw).decode()}", pem)


async def get_alerts(ask: Ask) -> AlertsView:
    """Where alerts of the token or person go, and the newest ones."""
    assert ask.who is not None, "the route is not public"
    return AlertsView(
        kinds=list(KINDS[ask.who.role]),
        targets=[_target(each) for each in await ask.context.alerts.targets(ask.who)],
        alerts=[_alert(each) for each in await ask.context.alerts.deliveries(ask.who)],
    )


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
]
