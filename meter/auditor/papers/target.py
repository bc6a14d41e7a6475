"""The folder or file that a paper becomes: closed to others, and whole or not there."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ledger.errors import LedgerError
from ledger.files import make_private, open_private


class BadTarget(LedgerError):  # noqa: N818 - the name says what is wrong
    """A name under which no paper can be written."""

    code = "bad_target"


def check_target(target: Path) -> None:
    """Raise `BadTarget` where something is there already."""
    if target.exists():
        raise BadTarget(f"{target} is there already")


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Yield a draft, which gets its name at the end of the `with`. Raises `BadTarget`."""
    check_target(target)
    draft = target.with_name(target.name + ".draft")
    if draft.exists():
        shutil.rmtree(draft)  # an earlier command was interrupted
    make_private(draft)
    yield draft
    draft.rename(target)


@contextmanager
def new_file(target: Path) -> Iterator[BinaryIO]:
    """Yield a draft of a file, which gets its name when it is whole. Raises `BadTarget`."""
    check_target(target)
    draft = target.with_name(target.name + ".draft")
    with open_private(draft) as file:
        yield file
    draft.rename(target)


def write_text(path: Path, text: str) -> None:
    """Write a new file."""
    with open_private(path, new=True) as file:
        file.write(text.encode())
