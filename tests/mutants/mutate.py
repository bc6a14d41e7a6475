"""Mutants of a source: the same text with one small fault.

A comparison is off by one or turned round, a part of a condition is left out or the whole negated,
a sign or a number changed, a statement that raises, calls or stores left out. Texts, annotations,
assertions and logging stay as they are. One example:

    Mutant("Frontier.root: size < 2 -> size <= 2 in if size < 2:", range(57, 58), "...")
"""

import ast
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_COMPARED: Final[dict[type[ast.cmpop], type[ast.cmpop]]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
_CALCULATED: Final[dict[type[ast.operator], type[ast.operator]]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}
_LEFT_OUT: Final = "pass"
_KEPT: Final = ("_log.", "assert_never(")  # statements that begin so


@dataclass(frozen=True)
class Mutant:
    """A fault by name, the lines of the statement it is in, and the whole source with it.

    The name stays when code comes and goes around it. The lines are those before a statement's
    body; who runs one of them may run the fault. All other code stays on its lines.
    """

    name: str
    lines: range
    source: str


def mutants(source: str) -> list[Mutant]:
    """Return all mutants of a source, in its order; where names are equal, a number follows."""
    lines = source.splitlines(keepends=True)
    found: list[Mutant] = []
    names: Counter[str] = Counter()
    changes = _changes(ast.parse(source), "module", range(1))
    for place, (begin, until), new, within in sorted(changes, key=lambda each: each[:3]):
        start, end = _offset(lines, *begin), _offset(lines, *until)
        old, line = " ".join(source[start:end].split()), lines[begin[0] - 1].strip()
        name = f"{place}: {old} -> {new}" + (f" in {line}" if line != old else "")
        names[name] += 1
        number = f" ({names[name]})" if names[name] > 1 else ""
        # In parentheses, for what stands around it may bind closer.
        ends = "\n" * (until[0] - begin[0])
        text = f"{new}{ends}" if new == _LEFT_OUT else f"({new}{ends})"
        found.append(Mutant(name + number, within, source[:start] + text + source[end:]))
    return found


_Place = tuple[int, int]  # line from 1, and bytes of UTF-8 within it
# Qualified name, what is replaced, by what, and within which lines.
_Change = tuple[str, tuple[_Place, _Place], str, range]


def _changes(node: ast.AST, place: str, within: range) -> Iterator[_Change]:
    """Yield the changes of a node and of all below it, which is within these lines."""
    within = _head(node) or within
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        place = f"{place}.{node.name}".removeprefix("module.")
    if isinstance(node, ast.expr):
        for new in _of_expression(node):
            yield place, _span(node), ast.unparse(ast.fix_missing_locations(new)), within
    elif isinstance(node, ast.stmt) and _can_be_left_out(node):
        yield place, _span(node), _LEFT_OUT, within
    elif isinstance(node, ast.If | ast.While):
        yield place, _span(node.test), f"not ({ast.unparse(node.test)})", within
    for child in _parts(node):
        yield from _changes(child, place, within)


def _head(node: ast.AST) -> range | None:
    """Return the lines of a statement or a case before its body, and None for other nodes."""
    match node:
        case ast.match_case(pattern=ast.pattern(lineno=first), body=[body, *_]):
            return range(first, max(first + 1, body.lineno))
        case ast.Match(lineno=first, cases=[case, *_]):
            return range(first, max(first + 1, case.pattern.lineno))
        case ast.stmt(lineno=first, body=[ast.stmt() as body, *_]):
            return range(first, max(first + 1, body.lineno))
        case ast.stmt(lineno=first, end_lineno=int(last)):
            return range(first, last + 1)
        case _:
            return None


def _parts(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes directly below a node that are changed."""
    left = {"annotation", "returns", "decorator_list"}
    match node:
        case ast.Call(func=ast.Name("zip")):  # that it is strict is an assertion
            left.add("keywords")
    for field, value in ast.iter_fields(node):
        if field not in left:
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST) and not _is_left_as_it_is(child):
                    yield child


def _is_left_as_it_is(node: ast.AST) -> bool:
    match node:
        case ast.Assert() | ast.JoinedStr():
            return True
        case ast.keyword(arg="frozen" | "kw_only"):  # how a class is made, as its decorators say
            return True
        case _:
            return False


def _of_expression(node: ast.expr) -> Iterator[ast.expr]:
    match node:
        case ast.Compare(left, ops, comparators):
            for number, operator in enumerate(ops):
                changed = [*ops[:number], _COMPARED[type(operator)](), *ops[number + 1 :]]
                yield ast.Compare(left, changed, comparators)
        case ast.BoolOp(op, values):
            for number in range(len(values)):
                rest = values[:number] + values[number + 1 :]
                yield rest[0] if len(rest) == 1 else ast.BoolOp(op, rest)
        case ast.BinOp(left, op, right) if type(op) in _CALCULATED:
            yield ast.BinOp(left, _CALCULATED[type(op)](), right)
        case ast.UnaryOp(ast.Not() | ast.USub(), operand):
            yield operand
        case ast.IfExp(test, body, orelse):
            yield ast.IfExp(test, orelse, body)
        case ast.Constant(bool() as value):
            yield ast.Constant(not value)
        case ast.Constant(int() as value):
            yield ast.Constant(value + 1)


def _can_be_left_out(node: ast.stmt) -> bool:
    match node:
        case ast.Expr(ast.Call() | ast.Await()):
            return not ast.unparse(node).startswith(_KEPT)
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            return True
        case _:
            return isinstance(node, ast.Raise | ast.AugAssign | ast.Delete)


def _span(node: ast.expr | ast.stmt) -> tuple[_Place, _Place]:
    assert node.end_lineno is not None
    assert node.end_col_offset is not None
    return (node.lineno, node.col_offset), (node.end_lineno, node.end_col_offset)


def _offset(lines: list[str], line: int, column_bytes: int) -> int:
    """Return a place as a number of characters."""
    in_line = lines[line - 1].encode()[:column_bytes].decode()
    return sum(map(len, lines[: line - 1])) + len(in_line)
