"""What templates show: frozen values, made from answers of the API."""

import base64
from dataclasses import dataclass
from itertools import groupby

from ledger.note import claimed_checkpoint
from meter.api.get_public import PublicPool, PublicView


@dataclass(frozen=True, slots=True)
class Programme:
    """A programme in one language, with its pools by year."""

    title: str
    pools: list[PublicPool]


def programmes(totals: PublicView, language: str) -> list[Programme]:
    """Return the programmes of the public totals, in their order."""
    return [
        Programme(pools[0].title if language == "zh" else pools[0].title_en, pools)
        for pools in (list(own) for _, own in groupby(totals.pools, key=lambda p: p.programme))
    ]


@dataclass(frozen=True, slots=True)
class Ledger:
    """The published ledger, as its checkpoint claims."""

    origin: str
    size: int
    root: str


def ledger(checkpoint: bytes) -> Ledger:
    """Return what a checkpoint claims; this page verifies no signature."""
    found = claimed_checkpoint(checkpoint)
    return Ledger(found.origin, found.size, base64.b64encode(found.root).decode())
