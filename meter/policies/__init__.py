"""The policy files that come with Kashi."""

import re
from importlib.resources import files

from meter.values.problems import Problem

_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def shipped_text(programme: str, version: str) -> str:
    """Read the text of a policy that comes with Kashi. Raises `Problem` `unknown_policy`."""
    file = files(__name__) / f"{programme}-{version}.toml"
    if not _SAFE.fullmatch(programme) or not _SAFE.fullmatch(version) or not file.is_file():
        raise Problem(
            "unknown_policy", f"no policy file {programme}-{version}.toml comes with Kashi"
        )
    return file.read_text(encoding="utf-8")
