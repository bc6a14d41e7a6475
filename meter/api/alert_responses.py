"""The JSON about alerts."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from meter.values.strict import Id
from meter.views.crossings import Kind


class WebhookKeyView(Struct, frozen=True):
    """The key that signs webhooks: as Standard Webhooks writes it, and as PEM."""

    whpk: str
    pem: str


class AddTarget(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A place to which alerts of some kinds are to go."""

    means: Literal["webhook", "mail"]
    address: str
    language: Literal["zh", "en"]
    kinds: Annotated[list[Kind], Meta(min_length=1)]


class TestTarget(Struct, frozen=True, forbid_unknown_fields=True):
    """A test is to be sent to a target."""

    target: Id


class TurnTarget(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A target is to be turned on or off."""

    target: Id
    on: bool


class ReplayAlert(Struct, frozen=True, forbid_unknown_fields=True):
    """A message is to be sent again."""

    alert: Id


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
