"""A fault that is planted into functions that are already imported.

    plant(faults(right, mutant, path), functions(root))

What was worked out while modules were imported stays as it was: so a fault of a constant, of a
class or of a default, and of a function that ran by then, is none of these.
"""

import gc
import marshal
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from inspect import CO_OPTIMIZED
from pathlib import Path
from types import CodeType, FunctionType

Key = tuple[str, str, int]  # of a function: its file, qualified name and line
Functions = Mapping[Key, Sequence[FunctionType]]


def functions(root: Path) -> Functions:
    """Return all functions in memory whose source lies below a folder."""
    found: defaultdict[Key, list[FunctionType]] = defaultdict(list)
    for each in gc.get_objects():
        if isinstance(each, FunctionType) and each.__code__.co_filename.startswith(f"{root}/"):
            found[_key(each.__code__)].append(each)
    return dict(found)


@dataclass(frozen=True)
class Fault:
    """Other code for a function, marshalled, and the lines that run only when it is called."""

    key: Key
    code: bytes
    lines: frozenset[int]


def faults(right: str, wrong: str, path: Path) -> list[Fault] | None:
    """Return the outermost functions that differ in two sources, and None where more differs."""
    try:
        return list(_faults(*(compile(each, str(path), "exec") for each in (right, wrong))))
    except (SyntaxError, _UnlikeError):
        return None


def plant(every: Iterable[Fault], found: Functions) -> None:
    """Give functions in memory other code. Raises `KeyError` for one that is not there."""
    for fault in every:
        for each in found[fault.key]:
            each.__code__ = marshal.loads(fault.code)


class _UnlikeError(Exception):
    """Two sources differ outside of functions."""


def _faults(old: CodeType, new: CodeType) -> Iterator[Fault]:
    """Yield the functions within a module or a class that differ. Raises `_UnlikeError`."""
    if _shell(old) != _shell(new):
        raise _UnlikeError
    around = _own_lines(old)
    for before, after in zip(_inner(old), _inner(new), strict=True):
        if not before.co_flags & CO_OPTIMIZED:
            yield from _faults(before, after)
        elif before != after:
            if before.co_freevars != after.co_freevars:
                raise _UnlikeError
            yield Fault(_key(before), marshal.dumps(after), frozenset(_lines(before) - around))


def _lines(code: CodeType) -> set[int]:
    return _own_lines(code).union(*map(_lines, _inner(code)))


def _own_lines(code: CodeType) -> set[int]:
    return {line for _, _, line in code.co_lines() if line is not None}


def _inner(code: CodeType) -> list[CodeType]:
    return [each for each in code.co_consts if isinstance(each, CodeType)]


def _shell(code: CodeType) -> CodeType:
    """Return code without what is in it, and without columns, which say where that ends."""
    consts = ("code" if isinstance(each, CodeType) else each for each in code.co_consts)
    return code.replace(co_consts=tuple(consts), co_linetable=b"")


def _key(code: CodeType) -> Key:
    return code.co_filename, code.co_qualname, code.co_firstlineno
