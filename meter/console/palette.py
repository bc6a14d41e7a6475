"""The colours of the console, light and dark, and the custom properties that hold them.

Text has a contrast of 4.5 or more to each surface that it stands on, marks of 3 or more. Red is for
errors alone. A contract keeps the colour of its place; the ninth has the colour of the first, and
another dash and letter: nothing is told by colour alone.
"""

from collections.abc import Mapping
from typing import Final

SURFACES: Final = ("page", "panel", "row")
TEXTS: Final = ("text", "quiet", "link", "error")
MARKS: Final = (*(f"mark-{place}" for place in range(1, 9)), "line", "hatch", "focus")

LIGHT: Final[Mapping[str, str]] = {
    "page": "#ffffff",
    "panel": "#f6f7f9",
    "row": "#eef1f5",
    "text": "#1b1f24",
    "quiet": "#4d5661",
    "link": "#0b57b5",
    "error": "#b3161d",
    "line": "#7d8794",
    "hatch": "#7d8794",
    "focus": "#0b57b5",
    "mark-1": "#2563c9",
    "mark-2": "#b06000",
    "mark-3": "#0a7f64",
    "mark-4": "#8a3fb0",
    "mark-5": "#57702a",
    "mark-6": "#0b7893",
    "mark-7": "#a0467c",
    "mark-8": "#6b5b4b",
}
DARK: Final[Mapping[str, str]] = {
    "page": "#14171b",
    "panel": "#1c2026",
    "row": "#242a31",
    "text": "#e8ebef",
    "quiet": "#aab3bf",
    "link": "#7fb2f5",
    "error": "#ff8a85",
    "line": "#818b98",
    "hatch": "#818b98",
    "focus": "#7fb2f5",
    "mark-1": "#6ea3f0",
    "mark-2": "#e0993f",
    "mark-3": "#3fbf9f",
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
