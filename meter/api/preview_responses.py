"""What is asked and answered about a command that is not given yet."""

from msgspec import UNSET, Struct, UnsetType

from meter.api.responses import AsOf, MadeEntry
from meter.rules.commands import ProgrammeName
from meter.values.strict import Body
from meter.views.preview import FigureName


class PreviewCommand(Struct, frozen=True, forbid_unknown_fields=True):
    """A command as it is proposed: the kind of its entry, and the body of its POST with its URL."""

    command: ProgrammeName
    body: Body


class FigureView(Struct, frozen=True, kw_only=True):
    """A figure of an enterprise, contract, pool, provider or device kind, before and after."""

    name: FigureName
    of: str
    year: int | UnsetType = UNSET
    before: str | UnsetType = UNSET
    after: str | UnsetType = UNSET


class PreviewView(Struct, frozen=True, kw_only=True):
    """What a command would do by now; `response` has the number that its entry would have."""

    response: MadeEntry
    exists: bool
    persons: int
    figures: list[FigureView]
    as_of: AsOf
