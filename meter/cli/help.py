"""What `--help` says, in the language of the command: the catalogue translates it by paragraphs."""

import os
from copy import copy
from typing import Any, Final

import click

from meter.languages import Speech, language_of

SPEECH: Final = "kashi.speech"  # of a command, in its context's `meta`
_UNWRAPPED: Final = "\b\n"  # click breaks lines at spaces, and Chinese has none


class Command(click.Command):
    """A command whose help is told in its language."""

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super(Command, told(self, _speech(ctx))).format_help(ctx, formatter)

    def get_short_help_str(self, limit: int = 45) -> str:
        return _short(self, limit) or super().get_short_help_str(limit)


class Group(click.Group):
    """A group of commands, the same; also of the commands in it."""

    command_class = Command
    group_class = type  # this one

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super(Group, told(self, _speech(ctx))).format_help(ctx, formatter)

    def get_short_help_str(self, limit: int = 45) -> str:
        return _short(self, limit) or super().get_short_help_str(limit)


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
