"""Structured logs: an event with named values, one JSON object a line, or a line for a terminal.

    {"batches":{"40":"9f86d0…"},"count":3,"event":"group","first":40,"level":"info",
     "logger":"meter.intake","ms":4,"submissions":1,"time":"2025-03-01T04:00:00.123456Z"}

Our own code names what it logs, value by value: numbers of entries, digests, codes, times. Text by
others stays out, for it may hold a token, or what was posted. An exception is logged by its type
and the lines it went through, and by its message only where a database or the system wrote it;
another library's message is logged without its values.

Outside `write_to`, as in tests and in the demonstration, warnings go to stderr as Python does it.
"""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from traceback import extract_tb
from typing import Any, Final, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from ledger.errors import LedgerError

MAX_FRAMES: Final = 12  # of a traceback, the innermost


def logger(name: str) -> Any:
    """Return a module's logger: `log.info("group", first=40)`."""
    return structlog.wrap_logger(
        logging.getLogger(name),
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.contextvars.merge_contextvars,
            *_SHARED,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
    )


@contextmanager
def write_to(stream: TextIO, level: str = "INFO") -> Iterator[None]:
    """Write all logs of a level and above to a stream, inside the `with`."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _renderer(readable=stream.isatty()),
            ],
            foreign_pre_chain=[_first_line, *_SHARED],
            use_get_message=False,  # the text without its values
        )
    )
    root = logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(level)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(before)


def about_request(**values: str) -> None:
    """Add values to all later log lines of this request, whose task has a context of its own."""
    structlog.contextvars.bind_contextvars(**values)


def _renderer(*, readable: bool) -> Processor:
    if readable:
        return structlog.dev.ConsoleRenderer(timestamp_key="time")
    return structlog.processors.JSONRenderer(sort_keys=True, ensure_ascii=False, default=_name)


def _name(value: object) -> str:
    return type(value).__name__


def _first_line(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Keep the first line; asyncio writes the reprs of what failed below it."""
    event["event"] = event["event"].partition("\n")[0]
    return event


def _describe_exception(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Describe an exception without anything that could hold somebody's data."""
    error = _exception_of(event.pop("exc_info", None))
    event.pop("stack_info", None)
    if error is not None:
        event["error"] = _name(error)
        event["where"] = _frames(error)
        if (why := _safe_message(error)) is not None:
            event["why"] = why
    return event


def _exception_of(exc_info: Any) -> BaseException | None:
    if exc_info is True:
        exc_info = sys.exc_info()
    found = exc_info[1] if isinstance(exc_info, tuple) else exc_info
    return found if isinstance(found, BaseException) else None


def _frames(error: BaseException) -> list[str]:
    frames = extract_tb(error.__traceback__)[-MAX_FRAMES:]
    return [f"{_short(frame.filename)}:{frame.lineno} {frame.name}" for frame in frames]


def _short(filename: str) -> str:
    return "/".join(Path(filename).parts[-2:])


def _safe_message(error: BaseException) -> str | None:
    """Return the message of a database or of the system, which keep quoted data apart."""
    if isinstance(error, LedgerError):
        why = None if error.__cause__ is None else _safe_message(error.__cause__)
        return error.code if why is None else f"{error.code}: {why}"
    if hasattr(error, "sqlstate"):
        return f"{error.sqlstate}: {error.args[0] if error.args else ''}"
    return error.strerror if isinstance(error, OSError) else None


_SHARED: Final[tuple[Processor, ...]] = (
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
    _describe_exception,
)
