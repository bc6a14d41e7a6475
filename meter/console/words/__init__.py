"""What the pages say, in Chinese and English: one line for each text, a file for each topic."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Final

from meter.console.formats import Language
from meter.console.words import (
    access_log,
    acts,
    alerts,
    authority,
    claims,
    common,
    enterprise,
    log,
    months,
    people,
    provider,
    public,
    registers,
    signing_in,
    statements,
    verify,
)
from meter.console.words.text import Text

_TOPICS: Final = (
    common.WORDS,
    public.WORDS,
    verify.WORDS,
    provider.WORDS,
    authority.WORDS,
    claims.WORDS,
    log.WORDS,
    signing_in.WORDS,
    people.WORDS,
    access_log.WORDS,
    acts.WORDS,
    registers.WORDS,
    enterprise.WORDS,
    statements.WORDS,
    alerts.WORDS,
    months.WORDS,
)
WORDS: Final[Mapping[str, Text]] = {name: text for topic in _TOPICS for name, text in topic.items()}
if len(WORDS) != sum(map(len, _TOPICS)):
    raise ValueError("two topics name a text alike")


def spoken(language: Language) -> SimpleNamespace:
    """Return all texts in a language, as attributes: a dict has some of its own."""
    return SimpleNamespace(**words(language))


def words(language: Language) -> dict[str, str]:
    """Return all texts in a language, by name."""
    return {name: getattr(text, language) for name, text in WORDS.items()}
