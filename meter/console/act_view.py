"""What the confirmation of an act shows: frozen values, made from answers of the API."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from msgspec import UNSET, UnsetType

from meter.api.preview_responses import FigureView
from meter.api.responses import MadeEntry
from meter.console import formats
from meter.console.act_forms import Act, Field
from meter.console.formats import Language

NOTHING: Final = "\N{EM DASH}"


@dataclass(frozen=True, slots=True)
class Fact:
    """What was filled in, as it is read; `name` is that of a party."""

    label: str
    text: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class FigureLine:
    """A figure that changes: what it is called and of, before and after."""

    label: str
    of: str
    before: str
    after: str


def facts(
    act: Act,
    values: Mapping[str, str],
    names: Mapping[str, str],
    words: Mapping[str, str],
    language: Language,
) -> list[Fact]:
    """Return what was filled in, in the order of the form."""
    given = ((each, values.get(each.name, "").strip()) for each in act.fields)
    return [
        Fact(words[each.word], _read(each, text, words, language), names.get(each.name, ""))
        for each, text in given
        if text
    ]


def _read(field: Field, text: str, words: Mapping[str, str], language: Language) -> str:
    if field.kind == "money":
        return formats.money(text)
    if field.kind == "date":
        return formats.date(text, language)
    return words[f"choice_{text}"] if field.kind == "choice" else text


def figure_lines(figures: Iterable[FigureView], words: Mapping[str, str]) -> list[FigureLine]:
    """Return the figures that change."""
    return [
        FigureLine(
            words[f"figure_{each.name}"],
            each.of if each.year is UNSET else f"{each.of} {each.year}",
            _figure(each.name, each.before, words),
            _figure(each.name, each.after, words),
        )
        for each in figures
        if each.before != each.after
    ]


def _figure(name: str, text: str | UnsetType, words: Mapping[str, str]) -> str:
    if text is UNSET:
        return NOTHING
    if name == "frozen":
        return words["choice_yes" if text == "1" else "choice_no"]
    return formats.number(text) if name in ("devices", "keys") else formats.money(text)


def made(response: MadeEntry, words: Mapping[str, str]) -> list[Fact]:
    """Return what follows from the act beside its figures."""
    found = [
        ("made_policy", response.policy),
        ("made_class", response.ratio_class),
        *(("made_warnings", each) for each in response.warnings),
    ]
    return [Fact(words[word], text) for word, text in found if text]
