"""The catalogue of what `kashi` tells in Chinese: gather its texts, and check it.

    python -m deploy.catalogue update    write the texts of the code into the catalogue
    python -m deploy.catalogue check     fail where a text has no translation, or loses a fact

An installation compiles the catalogue (`deploy/compiling.py`).

A text is the title of a problem, or what stands in a call that `_CALLS` names: the first argument
of `say`, the detail of an error. An f-string becomes a text with the facts in braces, named by the
last word of each:

    Violation("time_went_back", f"at {entry.at}, after one at {self._last_at}")
    at {at}, after one at {last_at}
"""

import ast
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import click
from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po, write_po

from deploy.compiling import CATALOGUE
from meter.cli.audit import audit
from meter.cli.auditor import entry, monitor, receipt, verify
from meter.cli.help import paragraphs
from meter.languages import TOLD
from meter.values.problems import CODES

_HEADER: Final = (
    "# What kashi tells a person, in English and in Chinese: `make messages`, CONTRIBUTING.md."
)
REPOSITORY: Final = Path(__file__).parents[1]

# Whose texts are told: all that a verification, a monitor, a receipt or a paper can say, and the
# details of problems that pages show.
_FILES: Final = (
    *("ledger/*.py", "meter/auditor/**/*.py", "meter/rules/**/*.py", "meter/views/**/*.py"),
    *("meter/wire/*.py", "meter/cli/common.py", "meter/cli/audit.py", "meter/cli/auditor.py"),
    *("meter/cli/help.py", "meter/values/*.py", "meter/tables/*.py", "meter/http/*.py"),
    *("meter/host/destinations.py", "meter/host/sign_in.py", "meter/host/tokens.py"),
    *("meter/host/turns.py", "meter/api/*.py", "meter/console/*.py"),
)
_OF_SERVICES: Final = {"ledger/publish.py", "ledger/store.py", "ledger/witnessing.py"}
# A call, and which of its arguments is a text.
_CALLS: Final[Mapping[str, int]] = {
    **dict.fromkeys(("say", "worded", "Check", "_Unchecked"), 0),
    **dict.fromkeys(("BadBundle", "BadCache", "BadFolder", "BadKey", "BadNote", "BadPolicy"), 0),
    **dict.fromkeys(("BadPosting", "BadProof", "BadReceiptFile", "BadSheet", "BadTarget"), 0),
    **dict.fromkeys(("CannotCheck", "CutBundle", "CutFile", "Diverged", "Inconsistent"), 0),
    **dict.fromkeys(("MissingFile", "NoCheckpoint", "NotCanonical", "NotSigned"), 0),
    **dict.fromkeys(("NotWitnessed", "OtherKey", "OtherRoot", "TooManyRows", "WeakKey"), 0),
    **dict.fromkeys(("ClientError", "Finding", "Judgement", "Problem", "Unproved", "Violation"), 1),
    **dict.fromkeys(("BadReceipt", "WrongReceipt", "agree", "_agree", "_wrong"), 1),
    "Fault": 2,  # of a line of the bank's results
    "__init__": 0,  # of an error that words itself
}
# Of dates, sums and texts that cannot be read, a problem of the URL tells.
_CALLS_OF_VALUES: Final = {**_CALLS, "ValueError": 0}
# A fact is named by the last word of its expression, unless that says how it is written.
_NOT_NAMED: Final = {"join", "str", "hex", "format", "repr", "len", "map", "sorted"}
_FACT: Final = re.compile(r"\{(\w+)\}")


def main(arguments: list[str]) -> int:
    """Do what an argument says; return 1 where the catalogue and the code differ."""
    match arguments:
        case ["update"]:
            update()
        case ["check"]:
            faults = list(find_faults(texts(), _read()))
            sys.stderr.writelines(f"{fault}\n" for fault in faults)
            return min(1, len(faults))
        case _:
            sys.stderr.write(__doc__ or "")
            return 2
    return 0


def update() -> None:
    """Write the texts of the code into the catalogue, with the translations that it has."""
    old = _read()
    new = Catalog(
        locale="zh",
        header_comment=_HEADER,
        charset="utf-8",
        creation_date=old.creation_date,  # so that the same texts give the same bytes
        revision_date=old.creation_date,
        last_translator="",
        language_team="zh",
        fuzzy=False,
    )
    for text, files in texts().items():
        known = old.get(text)
        new.add(text, known.string if known else "", [(file, 0) for file in files])
    with (REPOSITORY / CATALOGUE).open("wb") as file:
        write_po(file, new, width=100, include_lineno=False, sort_output=True)


def find_faults(wanted: Mapping[str, list[str]], catalogue: Catalog) -> Iterator[str]:
    """Yield what is wrong with a catalogue for the texts of the code, a line each."""
    for text, files in wanted.items():
        known = catalogue.get(text)
        if known is None or not known.string:
            yield f"{files[0]}: no translation of {text!r}"
        elif sorted(_FACT.findall(text)) != sorted(_FACT.findall(str(known.string))):
            yield f"{files[0]}: other facts in the translation of {text!r}"
        elif known.fuzzy:
            yield f"{files[0]}: a translation to look at: {text!r}"
    for each in catalogue:
        if each.id and each.id not in wanted:
            yield f"{CATALOGUE}: no code says {each.id!r}"


def texts() -> dict[str, list[str]]:
    """Return the texts of the code, each with the files that hold it."""
    found: dict[str, list[str]] = {}
    for path in sorted({each for pattern in _FILES for each in REPOSITORY.glob(pattern)}):
        name = path.relative_to(REPOSITORY).as_posix()
        if name in _OF_SERVICES:
            continue
        calls = _CALLS_OF_VALUES if name.startswith("meter/values/") else _CALLS
        for text in texts_of(path.read_text(encoding="utf-8"), calls):
            files = found.setdefault(text, [])
            if name not in files:
                files.append(name)
    for _, title in CODES.values():
        found.setdefault(title, []).append("meter/values/problems.py")
    for command in (verify, monitor, entry, receipt, audit):
        for text in dict.fromkeys(_helps(command)):
            if "meter/cli" not in (files := found.setdefault(text, [])):
                files.append("meter/cli")
    return found


def _helps(command: click.Command) -> Iterator[str]:
    """Yield what the help of a command says, and of those in it."""
    yield from paragraphs(command)
    yield from (
        each.help for each in command.params if isinstance(each, click.Option) and each.help
    )
    for each in command.commands.values() if isinstance(command, click.Group) else ():
        yield from _helps(each)


def texts_of(source: str, calls: Mapping[str, int] = _CALLS) -> Iterator[str]:
    """Yield the texts of a file, in order; one without a letter beside its facts is none."""
    tree = ast.parse(source)
    for scope in ast.walk(tree):
        if isinstance(scope, ast.Module | ast.FunctionDef | ast.AsyncFunctionDef):
            known = _assigned(scope)
            for call in _own_nodes(scope):
                if isinstance(call, ast.Call):
                    yield from filter(_has_words, _texts_of_call(call, calls, known))


def _has_words(text: str) -> bool:
    return any(map(str.isalpha, _FACT.sub("", text)))


def _own_nodes(scope: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of a function, or a module, without those of functions within."""
    for child in ast.iter_child_nodes(scope):
        yield child
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _own_nodes(child)


def _assigned(scope: ast.AST) -> dict[str, list[ast.expr]]:
    """Return what a function assigns to its names."""
    known: dict[str, list[ast.expr]] = {}
    for node in _own_nodes(scope):
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                known.setdefault(name, []).append(value)
    return known


def _texts_of_call(
    call: ast.Call, calls: Mapping[str, int], known: Mapping[str, list[ast.expr]]
) -> Iterator[str]:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    place = calls.get(name)
    if place is not None and len(call.args) > place:
        yield from _texts_of_value(call.args[place], known)


def _texts_of_value(value: ast.expr, known: Mapping[str, list[ast.expr]]) -> Iterator[str]:
    match value:
        case ast.Constant(value=str(text)):
            yield text
        case ast.JoinedStr(values=parts):
            yield _template(value)
            for part in parts:
                match part:
                    case ast.FormattedValue(value=ast.Name(id=name) as told) if name in TOLD:
                        yield from _texts_of_value(told, known)
        case ast.Name(id=name):
            for each in known.get(name, ()):
                yield from _texts_of_value(each, {})
        case _:
            for each in _alternatives(value):
                yield from _texts_of_value(each, known)


def _alternatives(value: ast.expr) -> list[ast.expr]:
    """Return the expressions that may give an expression its text."""
    match value:
        case ast.IfExp(body=one, orelse=other):
            return [one, other]
        case ast.BoolOp(values=values):
            return values
        case ast.Call(args=[inner, *_]):  # as of `_printable(f"…")`
            return [inner]
    return []


def _template(value: ast.JoinedStr) -> str:
    """Return an f-string with its facts named."""
    parts, names = [], []
    for part in value.values:
        match part:
            case ast.Constant(value=text):
                parts.append(str(text))
            case ast.FormattedValue(value=expression):
                name = _name(expression)
                names.append(name)
                count = names.count(name)
                parts.append(f"{{{name}{count if count > 1 else ''}}}")
    return "".join(parts)


def _name(expression: ast.expr) -> str:
    """Return the last word of an expression that names what it is."""
    match expression:
        case ast.Subscript(slice=ast.Constant(value=str(name))):
            return name
    words = [
        node.attr if isinstance(node, ast.Attribute) else node.id
        for node in ast.walk(expression)
        if isinstance(node, ast.Attribute | ast.Name)
    ]
    named = [word.strip("_") for word in words if word not in _NOT_NAMED]
    return named[0] if named else "fact"


def _read() -> Catalog:
    with (REPOSITORY / CATALOGUE).open("rb") as file:
        return read_po(file, locale="zh")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
