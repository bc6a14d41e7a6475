"""What `--help` says, in the language of the command: the catalogue translates it by paragraphs.

What click complains of, such as an option that is not there, stays English: it is said before the
language is known.
"""

import os
import re
from collections.abc import Iterable
from copy import copy
from typing import Any, Final

import click

from meter.languages import Speech, language_of
from meter.values.worded import worded

SPEECH: Final = "kashi.speech"  # of a command, in its context's `meta`
_UNWRAPPED: Final = "\b\n"  # click breaks lines at spaces, and Chinese has none
# What click itself says in a help, for the catalogue.
_OF_CLICK: Final = (
    *(worded("Usage:"), worded("Options"), worded("Commands")),
    *(worded("Show this message and exit."), worded("required"), worded("default: {default}")),
)
_ADDED: Final = re.compile(r"(.*  |)\[(.+)\]", re.DOTALL)


class _Formatter(click.HelpFormatter):
    """Writes what click itself says in a language."""

    speech = Speech("en")

    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        super().write_usage(prog, args, prefix or f"{self.speech.retell('Usage:')} ")

    def write_heading(self, heading: str) -> None:
        super().write_heading(self.speech.retell(heading))

    def write_dl(
        self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2
    ) -> None:
        told_rows = [(name, self._told(text)) for name, text in rows]
        super().write_dl(told_rows, col_max, col_spacing)

    def _told(self, text: str) -> str:
        """Return the help of an option with what click adds to it in brackets."""
        found = _ADDED.fullmatch(text)
        if found is None:
            return self.speech.retell(text)
        return f"{found[1]}[{self.speech.retell(found[2])}]"


class _Context(click.Context):
    formatter_class = _Formatter


class Command(click.Command):
    """A command whose help is told in its language."""

    context_class = _Context

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super(Command, _in_language(self, ctx, formatter)).format_help(ctx, formatter)

    def get_short_help_str(self, limit: int = 45) -> str:
        return _short(self, limit) or super().get_short_help_str(limit)


class Group(click.Group):
    """A group of commands, the same; also of the commands in it."""

    command_class = Command
    context_class = _Context
    group_class = type  # this one

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super(Group, _in_language(self, ctx, formatter)).format_help(ctx, formatter)

    def get_short_help_str(self, limit: int = 45) -> str:
        return _short(self, limit) or super().get_short_help_str(limit)


def _in_language(command: Any, context: click.Context, formatter: click.HelpFormatter) -> Any:
    """Return a command with its help in the language of its context, as far as it is translated."""
    speech = _speech(context)
    found = told(command, speech)
    if isinstance(formatter, _Formatter) and paragraphs(found) != paragraphs(command):
        formatter.speech = speech
    return found


def told(command: Any, speech: Speech) -> Any:
    """Return a command with its help in a language."""
    if speech.language == "en":
        return command
    found = copy(command)
    found.help = "\n\n".join(
        speech.say(each) if speech.say(each) == each else _UNWRAPPED + speech.say(each)
        for each in paragraphs(command)
    )
    found.params = [_told_option(each, speech) for each in command.params]
    return found


def paragraphs(command: click.Command) -> list[str]:
    """Return the paragraphs of a command's help, each in one line."""
    return [" ".join(each.split()) for each in (command.help or "").split("\n\n")]


def _told_option(option: click.Parameter, speech: Speech) -> Any:
    text = getattr(option, "help", None)
    if not text:
        return option
    found = copy(option)
    found.help = speech.say(text)
    return found


def _short(command: click.Command, limit: int) -> str:
    """Return the first sentence of a Chinese help, cut; nothing in English."""
    context = click.get_current_context(silent=True)
    speech = _speech(context) if context else Speech("en")
    first = paragraphs(command)[0]
    text = speech.say(first)
    if text == first:
        return ""
    text = text.partition("。")[0]
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def _speech(context: click.Context) -> Speech:
    return context.meta.get(SPEECH) or Speech(language_of(os.environ))
