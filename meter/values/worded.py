"""The mark of a text that is shown to a person, in the language of whoever reads it."""


def worded(text: str) -> str:
    """Return a text as it is: the catalogue gathers it, and `meter.languages` tells it."""
    return text
