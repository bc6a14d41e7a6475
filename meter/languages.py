"""What `kashi` tells a person, in Chinese or in English, by a catalogue of gettext.

English is what the code says. The catalogue, `locale/zh/LC_MESSAGES/kashi.po`, has a translation
of each text, with its facts in braces:

    msgid "at {at}, after one at {last_at}"
    msgstr "时间为 {at}，而上一条为 {last_at}"

Rules and the log know no language: their findings are English sentences, and stay so in JSON and
in evidence. `Speech.retell` finds the text that such a sentence was made from, and its facts. A
sentence that is of no text is shown as it is, and so is one whose facts of several words could end
at two places. Codes and names stay as they are.
"""

import gettext
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Final, Literal, get_args

Language = Literal["zh", "en"]
LANGUAGES: Final[tuple[Language, ...]] = get_args(Language)

# What is longer, of more parts, or deeper within others, is no text of ours.
MAX_LETTERS: Final = 2_000
MAX_PARTS: Final = 16
MAX_DEPTH: Final = 5
_CATALOGUES: Final = Path(__file__).with_name("locale")
_FACT: Final = re.compile(r"\{(\w+)\}")
_CODE: Final = re.compile("[a-z_]+")
# Facts that are sentences themselves.
TOLD: Final = frozenset({"decision", "detail", "error", "meaning", "told", "what", "why"})


def language_of(environment: Mapping[str, str]) -> Language:
    """Return the language of a locale: LC_ALL decides, else LC_MESSAGES, else LANG (POSIX)."""
    names = (environment.get(name) for name in ("LC_ALL", "LC_MESSAGES", "LANG"))
    chosen = next(filter(None, names), "")
    return "zh" if re.match(r"zh\b|zh_", chosen) else "en"


class Speech:
    """One language: `say` is for texts of the caller, `retell` for sentences of others."""

    def __init__(self, language: Language) -> None:
        """Read the catalogue. Raises `OSError` where an installation has none."""
        self.language = language
        self._texts = {} if language == "en" else _read(language)

    def say(self, text: str, **facts: object) -> str:
        """Return a text with its facts; an error among them is retold."""
        told = {
            name: self.retell(str(fact)) if isinstance(fact, Exception) else fact
            for name, fact in facts.items()
        }
        return self._texts.get(text, text).format(**told)

    def retell(self, sentence: str) -> str:
        """Return an English sentence in this language, or as it is."""
        if not self._texts or len(sentence) > MAX_LETTERS:
            return sentence
        return self._retell(sentence, MAX_DEPTH)[1]

    def _retell(self, sentence: str, depth: int) -> tuple[int, str]:
        """Return how many letters stay as they are, and the sentence, by the text that has most."""
        found = [(len(sentence), sentence)]
        if depth == 0:
            return found[0]
        code, colon, detail = sentence.partition(": ")
        if colon and _CODE.fullmatch(code):  # an error as text
            letters, told = self._retell(detail, depth - 1)
            found.append((len(code) + letters, f"{code}: {told}"))
        if 0 < sentence.count("; ") < MAX_PARTS:
            parts = [self._retell(part, depth - 1) for part in sentence.split("; ")]
            letters = sum(letters for letters, _ in parts)
            found.append((letters, "；".join(told for _, told in parts)))
        for template in self._templates:
            first, last = template.parts[0], template.parts[-1]
            if not (sentence.startswith(first) and sentence.endswith(last)):  # as of most
                continue
            facts = template.facts_of(sentence)
            if facts is not None:
                found.append(self._translate(template, facts, depth - 1))
        return min(found)

    def _translate(
        self, template: "Template", facts: Mapping[str, str], depth: int
    ) -> tuple[int, str]:
        retold = {
            name: self._retell(fact, depth) if name in TOLD else (len(fact), fact)
            for name, fact in facts.items()
        }
        texts = {name: text for name, (_, text) in retold.items()}
        letters = sum(letters for letters, _ in retold.values())
        return letters, template.translation.format(**texts)

    @cached_property
    def _templates(self) -> list["Template"]:
        return [Template.of(*each) for each in self._texts.items()]


@dataclass(frozen=True, slots=True)
class Template:
    """A text: `parts` stand around its facts, one more than there are."""

    parts: tuple[str, ...]
    names: tuple[str, ...]
    translation: str

    @classmethod
    def of(cls, text: str, translation: str) -> "Template":
        split = _FACT.split(text)
        return cls(tuple(split[::2]), tuple(split[1::2]), translation)

    def facts_of(self, sentence: str) -> dict[str, str] | None:
        """Return the facts of a sentence; None where it is of another text, or ambiguous."""
        if not self.names:
            return {} if sentence == self.parts[0] else None
        first, *between, last = self.parts
        if not (sentence.startswith(first) and sentence[len(first) :].endswith(last)):
            return None
        rest, facts = sentence[len(first) : len(sentence) - len(last)], []
        for part in between:
            if part not in rest:
                return None
            fact, _, rest = rest.partition(part)
            if " " in fact and part in rest:
                return None
            facts.append(fact)
        return dict(zip(self.names, [*facts, rest], strict=True))


@cache
def _read(language: Language) -> dict[str, str]:
    found = gettext.translation("kashi", _CATALOGUES, [language], class_=_Catalogue)
    return found.texts()


class _Catalogue(gettext.GNUTranslations):
    """A catalogue that lists its texts, for gettext alone can only look one up."""

    _catalog: dict[str, str]

    def texts(self) -> dict[str, str]:
        """Return the translation of each text; the header is none."""
        return {text: told for text, told in self._catalog.items() if text}
