"""The name of a ledger: a URL without its scheme, e.g. `kashi.example/shenzhen`."""

import re
from typing import Final

MAX_LENGTH: Final = 200

_FORM: Final = re.compile(r"[a-z0-9][a-z0-9.-]*(?::[0-9]+)?(?:/[A-Za-z0-9._~-]+)*")
_TRIAL_HOST: Final = re.compile(r"(?:^|\.)(?:test|example)$")


def is_origin(text: str) -> bool:
    """Return whether a text has the form of an origin."""
    return len(text) <= MAX_LENGTH and _FORM.fullmatch(text) is not None


def is_trial(origin: str) -> bool:
    """Return whether an origin is for tests and trials: its host ends in `.test` or `.example`."""
    host = origin.partition("/")[0].partition(":")[0]
    return _TRIAL_HOST.search(host) is not None
