"""One text in each language that the pages have."""

from typing import NamedTuple


class Text(NamedTuple):
    """A text in Chinese and in English, so that neither is forgotten."""

    zh: str
    en: str
