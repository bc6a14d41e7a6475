"""The choice between the compiled modules of a package and their sources.

Some modules of `ledger` and `meter` are compiled when Kashi is installed (deploy/compiling.py), and
Python prefers compiled ones. With `KASHI_PURE=1` all of them run as they are written. This is the
reference, for an auditor who trusts no compiler, and for the tests that compare the two.
"""

import os
import sys
from collections.abc import Iterable
from importlib.machinery import SOURCE_SUFFIXES, FileFinder, SourceFileLoader
from types import ModuleType


def as_written_if_asked(folders: Iterable[str]) -> None:
    """Load the modules in and below these folders from their sources, where `KASHI_PURE` is set."""
    if os.environ.get("KASHI_PURE"):
        for top in folders:
            for folder, _, _ in os.walk(top):
                finder = FileFinder(folder, (SourceFileLoader, SOURCE_SUFFIXES))
                sys.path_importer_cache[folder] = finder


def is_compiled(module: ModuleType) -> bool:
    """Return whether a module runs compiled."""
    return not (module.__file__ or "").endswith(tuple(SOURCE_SUFFIXES))
