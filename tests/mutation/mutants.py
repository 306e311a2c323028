"""Source code in, its mutants out. No I/O."""

from __future__ import annotations

import ast
import copy
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_OPERATIONS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
}
_NAMES = {"min": "max", "max": "min", "any": "all", "all": "any", "and_": "or_", "or_": "and_"}
_CLAUSES = frozenset({"where", "having", "order_by", "limit", "group_by"})
"""Methods of a query that can be left out, or lose an argument."""
_NOT_BEHAVIOUR = frozenset({"frozen", "slots", "kw_only", "strict", "key_share"})
"""Arguments; the last is how a row is locked, which races and the bank test, not unit tests."""


@dataclass(frozen=True)
class Mutant:
    """`name` does not depend on line numbers: where, what, and what it became."""

    name: str
    line: int
    source: str


@dataclass(frozen=True)
class _Change:
    """`node`, at `field` of `parent` (in its list if `index` is given), becomes `other`."""

    parent: ast.AST
    field: str
    index: int | None
    node: ast.AST
    other: ast.AST
    where: str

    def put(self, node: ast.AST) -> None:
        if self.index is None:
            setattr(self.parent, self.field, node)
        else:
            getattr(self.parent, self.field)[self.index] = node


def mutants(module: str, source: str) -> list[Mutant]:
    """Every mutant of the module's source."""
    tree = ast.parse(source)
    seen: Counter[str] = Counter()
    made = []
    for change in _changes(tree, "", module):
        name = f"{change.where}: {_text(change.node)} → {_text(change.other)}"
        seen[name] += 1
        if seen[name] > 1:
            name += f" ({seen[name]})"
        change.put(change.other)
        made.append(Mutant(name, getattr(change.node, "lineno", 0), ast.unparse(tree)))
        change.put(change.node)
    return made


def _text(node: ast.AST) -> str:
    return " ".join(ast.unparse(node).split())


def _changes(node: ast.AST, _field: str, where: str) -> Iterator[_Change]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        where = f"{where}.{node.name}"
    for field, value in ast.iter_fields(node):
        if _is_inert(node, field):
            continue
        children = value if isinstance(value, list) else [value]
        for index, child in enumerate(children):
            if not isinstance(child, ast.AST) or _is_ignored(child):
                continue
            place = index if isinstance(value, list) else None
            for other in _variants(child):
                yield _Change(node, field, place, child, ast.copy_location(other, child), where)
            yield from _changes(child, field, where)


def _is_inert(node: ast.AST, field: str) -> bool:
    """Annotations and decorators say nothing that a test could notice."""
    if field in {"annotation", "returns", "decorator_list", "bases", "format_spec"}:
        return True
    return isinstance(node, ast.keyword) and node.arg in _NOT_BEHAVIOUR


def _is_ignored(node: ast.AST) -> bool:
    match node:
        case ast.Import() | ast.ImportFrom() | ast.Assert() | ast.JoinedStr():
            return True
        case ast.Expr(value=ast.Constant()):  # docstrings
            return True
        case ast.Assign(targets=[ast.Name(id="__all__" | "Query")]):
            return True
        case _:
            return False


def _variants(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.stmt):
        yield from _statements(node)
    elif isinstance(node, ast.Call):
        yield from _calls(node)
    elif isinstance(node, ast.expr | ast.comprehension):
        yield from _expressions(node)


def _statements(node: ast.stmt) -> Iterator[ast.AST]:
    match node:
        case ast.Expr() | ast.AugAssign() | ast.Raise() | ast.Continue() | ast.Break():
            yield ast.Pass()
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            yield ast.Pass()
        case ast.Delete():
            yield ast.Pass()
    match node:
        case ast.AugAssign(op=op) if type(op) in _OPERATIONS:
            yield _with(node, op=_OPERATIONS[type(op)]())
        case ast.If(test=test) | ast.While(test=test):
            yield _with(node, test=_negated(test))


def _calls(node: ast.Call) -> Iterator[ast.AST]:
    match node.func:
        case ast.Name(id=name) if name in _NAMES:
            yield _with(node, func=ast.Name(_NAMES[name], ast.Load()))
        case ast.Attribute(attr=name, value=value):
            if name in _NAMES:
                yield _with(node, func=ast.Attribute(value, _NAMES[name], ast.Load()))
            if name in _CLAUSES:
                yield value
                if len(node.args) > 1:
                    for index in range(len(node.args)):
                        args = [arg for n, arg in enumerate(node.args) if n != index]
                        yield _with(node, args=args)


def _expressions(node: ast.expr | ast.comprehension) -> Iterator[ast.AST]:
    match node:
        case ast.Compare(ops=ops):
            for index, op in enumerate(ops):
                if type(op) in _COMPARISONS:
                    other = [*ops[:index], _COMPARISONS[type(op)](), *ops[index + 1 :]]
                    yield _with(node, ops=other)
        case ast.BinOp(op=op) if type(op) in _OPERATIONS:
            yield _with(node, op=_OPERATIONS[type(op)]())
        case ast.BoolOp(op=op):
            yield _with(node, op=ast.Or() if isinstance(op, ast.And) else ast.And())
        case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
            yield operand
        case ast.IfExp(test=test):
            yield _with(node, test=_negated(test))
        case ast.comprehension(ifs=[_, *_]):
            yield _with(node, ifs=[])
        case ast.Constant(value=value):
            yield from _constants(value)


def _constants(value: object) -> Iterator[ast.expr]:
    if isinstance(value, bool):
        yield ast.Constant(not value)
    elif isinstance(value, int):
        yield ast.Constant(value + 1)
    elif isinstance(value, str) and value and " " not in value and "\n" not in value:
        yield ast.Constant(f"{value}_")  # codes, kinds and keys; sentences are for people


def _negated(test: ast.expr) -> ast.expr:
    match test:
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return operand
        case _:
            return ast.UnaryOp(ast.Not(), test)


def _with(node: ast.AST, **fields: object) -> ast.AST:
    other = copy.copy(node)
    for field, value in fields.items():
        setattr(other, field, value)
    return other
