"""What the pages of the log show: an entry in words, and who has cosigned the checkpoint."""

import json
from base64 import b64encode
from dataclasses import dataclass
from typing import Any, Final

from ledger.note import claimed_checkpoint, split_note
from meter.api.day_responses import GrowthView
from meter.api.responses import EntryView, FoundView
from meter.console import formats
from meter.console.chart import Chart, Series, draw
from meter.console.entry_words import ACCOUNTS, KINDS
from meter.console.formats import Language
from meter.console.words import spoken
from meter.values.units import MICROSECONDS, format_instant, format_money

_COSIGNATURE_BYTES: Final = 72  # the time as eight bytes, and the signature (ledger/cosign.py)


@dataclass(frozen=True, slots=True)
class Move:
    """One posting: an amount, and between what it moved."""

    amount: str
    source: str
    target: str


@dataclass(frozen=True, slots=True)
class EntryValues:
    """An entry as its page shows it; `text` is its JSON, and `money` says what moved."""

    number: int
    kind: str
    time: str
    by: str
    person: str
    reason: str
    proposal: int | None
    moves: list[Move]
    leaf_hash: str
    text: str


def entry_values(view: EntryView, language: Language) -> EntryValues:
    """Return an entry in words."""
    fields: dict[str, Any] = json.loads(bytes(view.entry))
    return EntryValues(
        number=view.number,
        kind=kind_name(fields["kind"], language),
        time=_moment(fields["at"], language),
        by=fields["by"],
        person=fields.get("person", ""),
        reason=fields.get("reason", ""),
        proposal=fields.get("proposal"),
        moves=[_move(posting, language) for posting in fields["postings"]],
        leaf_hash=view.leaf_hash,
        text=json.dumps(fields, ensure_ascii=False, indent=2),
    )


def kind_name(kind: str, language: Language) -> str:
    """Return what a kind of entry is called."""
    return str(getattr(KINDS[kind], language))


def account_name(account: str, language: Language) -> str:
    """Return what an account is called, with all of its parts."""
    kind, *parts = account.split(":")
    return str(getattr(ACCOUNTS[kind], language)).format(*parts)


def _move(posting: tuple[str, str, int], language: Language) -> Move:
    source, target, fen = posting
    return Move(format_money(fen), account_name(source, language), account_name(target, language))


def _moment(microseconds: int, language: Language) -> str:
    return formats.moment(format_instant(microseconds // MICROSECONDS), language)


@dataclass(frozen=True, slots=True)
class Cosigner:
    """Who has cosigned a checkpoint, and when by its own word."""

    name: str
    time: str


@dataclass(frozen=True, slots=True)
class Published:
    """The newest checkpoint, as it claims; no signature was verified here."""

    origin: str
    size: int
    root: str
    cosigners: list[Cosigner]


def published(checkpoint: bytes, language: Language) -> Published:
    """Return what a checkpoint claims, and the lines of its cosigners."""
    found = claimed_checkpoint(checkpoint)
    cosigners = [
        Cosigner(each.name, _moment(_seconds(each.signature) * MICROSECONDS, language))
        for each in split_note(checkpoint)[1]
        if each.name != found.origin and len(each.signature) == _COSIGNATURE_BYTES
    ]
    return Published(found.origin, found.size, b64encode(found.root).decode(), cosigners)


def _seconds(signature: bytes) -> int:
    return int.from_bytes(signature[:8], "big")


def growth_chart(view: GrowthView, language: Language) -> str:
    """Return the ledger's size by day as SVG."""
    w = spoken(language)
    sizes = [day.entries for day in view.days]
    return draw(
        Chart(
            id="growth",
            title=w.growth_title,
            description=f"{view.days[0].date}: {sizes[0]:,}; {view.days[-1].date}: {sizes[-1]:,}",
            days=[formats.short_date(day.date, language) for day in view.days],
            series=[Series(w.entries, sizes, 1, is_line=True)],
            shown=lambda size: f"{size:,}",
            ticked=lambda size: formats.short(size, language),
            words=(w.date, w.show_table, ""),
        )
    )


# What the log finds the entries of, by the same name.
_FILTERS: Final = (
    *("enterprise", "provider", "contract", "award", "project", "person", "batch", "record"),
)


@dataclass(frozen=True, slots=True)
class Found:
    """Something that a search found; `filter` finds its entries in the log, where there is one."""

    kind: str
    id: str
    name: str
    filter: str


def found_value(found: FoundView) -> Found:
    """Return a thing that was found."""
    return Found(found.kind, found.id, found.name, found.kind if found.kind in _FILTERS else "")
