"""The colours of the console, light and dark, and the custom properties that hold them.

Text has a contrast of 4.5 or more to each surface that it stands on, marks of 3 or more. Red is for
errors alone. A contract keeps the colour of its place; the ninth has the colour of the first, and
another dash and letter: nothing is told by colour alone.
"""

from collections.abc import Mapping
from typing import Final

SURFACES: Final = ("page", "panel", "row", "notice")
TEXTS: Final = ("text", "quiet", "link", "error", "good", "warn")
MARKS: Final = (*(f"mark-{place}" for place in range(1, 9)), "line", "hatch", "focus")
FILLS: Final = ("left",)  # beside a mark, which says all

LIGHT: Final[Mapping[str, str]] = {
    "page": "#f4f6f5",
    "panel": "#ffffff",
    "row": "#e9eeec",
    "notice": "#fdf3e1",
    "left": "#b9d8d2",
    "good": "#0a6647",
    "warn": "#8f4300",
    "text": "#16201d",
    "quiet": "#50605a",
    "link": "#0a6b5e",
    "error": "#b3161d",
    "line": "#7d8794",
    "hatch": "#7d8794",
    "focus": "#0a6b5e",
    "mark-1": "#0b7a6c",
    "mark-2": "#b06000",
    "mark-3": "#3f72c4",
    "mark-4": "#8a3fb0",
    "mark-5": "#57702a",
    "mark-6": "#0b7893",
    "mark-7": "#a0467c",
    "mark-8": "#6b5b4b",
}
DARK: Final[Mapping[str, str]] = {
    "page": "#101413",
    "panel": "#181e1c",
    "row": "#242c29",
    "notice": "#33260f",
    "left": "#255049",
    "good": "#5fd3a0",
    "warn": "#f2b15c",
    "text": "#e8ebef",
    "quiet": "#aab3bf",
    "link": "#45d0b9",
    "error": "#ff8a85",
    "line": "#818b98",
    "hatch": "#818b98",
    "focus": "#45d0b9",
    "mark-1": "#35c9b1",
    "mark-2": "#e0993f",
    "mark-3": "#7aa7f0",
    "mark-4": "#c48be0",
    "mark-5": "#9ab55f",
    "mark-6": "#45b5d1",
    "mark-7": "#dd86b8",
    "mark-8": "#b8a48f",
}


def mark_of(place: int) -> int:
    """Return which of the eight marks a contract has, by its place among its owner's, from 0."""
    return place % 8 + 1


def stylesheet() -> str:
    """Return the custom properties: the system's scheme, unless a switch says other; print light.

    Without nesting and `light-dark()`, for browsers of 2023.
    """
    by_system = _rule(':root:not([data-theme="light"])', DARK, "dark")
    by_switch = _rule(':root[data-theme="dark"]', DARK, "dark")
    return "\n".join(
        [
            _rule(":root", LIGHT, "light"),
            f"@media screen and (prefers-color-scheme: dark) {{\n{by_system}\n}}",
            f"@media screen {{\n{by_switch}\n}}",
            "",
        ]
    )


def _rule(selector: str, colours: Mapping[str, str], scheme: str) -> str:
    lines = [f"  --{name}: {colour};" for name, colour in colours.items()]
    return "\n".join([f"{selector} {{", f"  color-scheme: {scheme};", *lines, "}"])
