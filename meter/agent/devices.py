"""Which devices a run held, read from what its scheduler allocated: pure.

    billing=4,cpu=4,gres/gpu:h100=2,gres/gpu=2,node=1      two `gpu:h100` (Slurm's `AllocTRES`)
    billing=1,cpu=1,gres/npu=4,node=1                      four `npu`, of no known type
    milli/gpu=460                                          460 thousandths of a `gpu` (others)

Slurm's untyped figure is the sum, on all nodes; typed ones tell its kinds. Where they do not add up
to it, a type is missing in Slurm's `AccountingStorageTRES`, and nobody can say what was held.
"""

import re
from collections import defaultdict
from collections.abc import Mapping
from typing import Final

THOUSANDTHS: Final = "milli/"
UNREAD: Final = "claims/unread"
_GRES: Final = "gres/"
_COUNT: Final = re.compile(r"[0-9]{1,9}")
_MILLI: Final = re.compile(r"[0-9]{1,30}")


class Unvaluable(ValueError):  # noqa: N818 - the name says what is wrong
    """An allocation whose devices cannot be told; `code` is stable."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


def thousandths_in(allocation: str) -> Mapping[str, int]:
    """Return the thousandths of devices by resource. Raises `Unvaluable`."""
    found = {resource: 1_000 * count for resource, count in devices_in(allocation).items()}
    for item in allocation.split(","):
        if item == UNREAD:
            raise Unvaluable("resource_claims", "what its resource claims hold is not read")
        if item.startswith(THOUSANDTHS):
            resource, _, held = item.removeprefix(THOUSANDTHS).rpartition("=")
            if not _MILLI.fullmatch(held):
                raise Unvaluable("unreadable", f"cannot be read: {allocation:.200}")
            found[resource] = int(held)
    return found


def devices_in(allocation: str) -> Mapping[str, int]:
    """Return the number of devices by resource, typed where types are told. Raises `Unvaluable`."""
    counts: dict[str, dict[str, int]] = defaultdict(dict)
    for item in filter(None, allocation.split(",")):
        name, _, count = item.rpartition("=")
        if name.startswith(_GRES):
            resource, _, kind = name.removeprefix(_GRES).partition(":")
            if not _COUNT.fullmatch(count) or kind in counts[resource]:
                raise Unvaluable("unreadable", f"cannot be read: {allocation:.200}")
            counts[resource][kind] = int(count)
    found: dict[str, int] = {}
    for resource, kinds in counts.items():
        found |= _by_kind(resource, kinds)
    return {name: count for name, count in found.items() if count}


def _by_kind(resource: str, kinds: dict[str, int]) -> dict[str, int]:
    total = kinds.pop("", None)
    if not kinds:
        return {resource: total or 0}
    if sum(kinds.values()) != total:
        typed = ", ".join(f"{resource}:{kind}={count}" for kind, count in kinds.items())
        raise Unvaluable(
            "types_differ",
            f"{typed} is not {resource}={total or 0}: a type is missing in AccountingStorageTRES",
        )
    return {f"{resource}:{kind}": count for kind, count in kinds.items()}
