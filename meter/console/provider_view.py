"""What a provider's pages show: frozen values, made from answers of the API."""

from dataclasses import dataclass
from itertools import count

from meter.api.responses import Gap, GapPage, ProviderView, StreamView


@dataclass(frozen=True, slots=True)
class StreamLine:
    """A stream with its missing numbers as text; `more` where it has more gaps than are shown."""

    stream: StreamView
    gaps: list[str]
    more: bool


def stream_line(stream: StreamView, gaps: GapPage | None) -> StreamLine:
    """Return a stream's line; `gaps` are its first ones, where it has any."""
    if gaps is None:
        return StreamLine(stream, [], more=False)
    return StreamLine(stream, [_range(each) for each in gaps.gaps], gaps.more)


@dataclass(frozen=True, slots=True)
class Rotation:
    """How a provider changes its key: a name for the next one, and the step that comes now.

    While several keys are in use, all senders switch to the newest, and the `older` are revoked.
    """

    keyid: str
    step: int
    older: list[str]


def rotation(provider: ProviderView) -> Rotation:
    """Return where a provider stands in changing its key; keys come in the order of entries."""
    taken = {each.keyid for each in provider.keys}
    names = (f"{provider.id}-{number}" for number in count(len(taken) + 1))
    older = [each.keyid for each in provider.keys if not each.revoked][:-1]
    return Rotation(next(name for name in names if name not in taken), 3 if older else 1, older)


def _range(gap: Gap) -> str:
    return str(gap.first) if gap.first == gap.last else f"{gap.first}–{gap.last}"
