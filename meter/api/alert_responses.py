"""The JSON about alerts."""

from typing import Literal

from msgspec import UNSET, Struct, UnsetType

from meter.views.crossings import Kind


class WebhookKeyView(Struct, frozen=True):
    """The key that signs webhooks: as Standard Webhooks writes it, and as PEM."""

    whpk: str
    pem: str


class TargetView(Struct, frozen=True, kw_only=True):
    """A place to which alerts of some kinds go; `off` is since when none does, and `why`."""

    id: str
    means: Literal["webhook", "mail"]
    address: str
    language: Literal["zh", "en"]
    kinds: list[Kind]
    off: str | UnsetType = UNSET
    why: Literal["person", "failed", "ended"] | UnsetType = UNSET


class AttemptView(Struct, frozen=True):
    """An attempt to send a message, and what came of it."""

    time: str
    taken: bool
    detail: str
    ms: int


class AlertView(Struct, frozen=True, kw_only=True):
    """A message: waiting for its next attempt, taken, or given up; `body` is what is sent."""

    id: str
    target: str
    kind: str
    time: str
    status: Literal["waiting", "taken", "given_up"]
    next: str | UnsetType = UNSET
    attempts: list[AttemptView]
    body: str


class AlertsView(Struct, frozen=True, kw_only=True):
    """The targets of whoever asks, and the newest messages to them, the newest first.

    `kinds` are those that the role may choose.
    """

    kinds: list[Kind]
    targets: list[TargetView]
    alerts: list[AlertView]
