"""The Unified Social Credit Code of an organisation (GB 32100-2015), e.g. `91440300708461136T`.

18 characters of an alphabet without I, O, S, V, Z; the last checks the others:
`(31 − Σ value·3^(i−1)) mod 31`. Upper case only. Letters are legal in positions 1 and 2.
"""

from typing import Final

ALPHABET: Final = "0123456789ABCDEFGHJKLMNPQRTUWXY"
_VALUES: Final = {character: value for value, character in enumerate(ALPHABET)}
_WEIGHTS: Final = tuple(pow(3, i, 31) for i in range(17))


def check_character(body: str) -> str:
    """Return the check character of 17 characters of `ALPHABET`."""
    total = sum(
        _VALUES[character] * weight for character, weight in zip(body, _WEIGHTS, strict=True)
    )
    return ALPHABET[-total % 31]


def is_valid(text: str) -> bool:
    """Return whether `text` is a USCC with a right check character."""
    if len(text) != 18 or not set(text) <= _VALUES.keys():
        return False
    # GB 32100-2015 4.2: positions 3 to 8 are the digits of an administrative division.
    return text[2:8].isdigit() and text[17] == check_character(text[:17])
