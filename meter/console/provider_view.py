"""What a provider's pages show: frozen values, made from answers of the API."""

from dataclasses import dataclass

from meter.api.responses import Gap, GapPage, StreamView


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


def _range(gap: Gap) -> str:
    return str(gap.first) if gap.first == gap.last else f"{gap.first}–{gap.last}"
