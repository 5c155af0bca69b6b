"""Every way in which this tool breaks a module: one comparison, guard, connective, condition or check at a time.

What is changed: a comparison becomes its neighbour (`<` and `<=`), its opposite (`==` and `!=`), true or false, or loses a
link of its chain; `and` becomes `or`; an operand of either goes; `not` goes; the condition of an `if` is taken for granted
or ignored; a `raise` or a call whose value nobody takes goes; `any` becomes `all`. A change that another one makes already is
left out: the `raise` of an `if` that does nothing else, the condition of an `if` that is one comparison.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NEIGHBOUR = {
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
CONNECTIVE = {ast.And: ast.Or, ast.Or: ast.And}
QUANTIFIER = {"any": "all", "all": "any"}


@dataclass(frozen=True)
class Mutant:
    """One change of a module: where it is, what is there, and what would be there instead. `tree` makes it."""

    module: str
    where: str
    line: int
    before: str
    after: str
    source: str = field(repr=False)
    place: tuple[int, int] = field(repr=False)

    @property
    def change(self) -> str:
        return f"{self.before} -> {self.after}"

    @property
    def tree(self) -> ast.Module:
        """The whole module, with this change."""
        tree = ast.parse(self.source)
        node = list(ast.walk(tree))[self.place[0]]
        _, _, apply = list(_variants(node, _Parents(tree)))[self.place[1]]
        apply()
        return ast.fix_missing_locations(tree)

    def __str__(self) -> str:
        return f"{self.module}:{self.line} in {self.where}: {self.change}"


def mutants(module: str, source: str) -> list[Mutant]:
    """All mutants of a module, in the order of its lines."""
    tree = ast.parse(source)
    parents = _Parents(tree)
    found = [
        Mutant(module, _where(tree, line), line, before, after, source, (number, variant))
        for number, node in enumerate(ast.walk(tree))
        for variant, (before, after, _) in enumerate(_variants(node, parents))
        for line in [_line(node)]
    ]
    return sorted(found, key=lambda mutant: mutant.line)


def _line(node: ast.AST) -> int:
    """The line of a node; of those that have none, that of their first part."""
    part = node.target if isinstance(node, ast.comprehension) else node.pattern if isinstance(node, ast.match_case) else node
    return part.lineno


class _Parents:
    """Puts one node in another's place."""

    def __init__(self, tree: ast.Module) -> None:
        self._of = {child: parent for parent in ast.walk(tree) for child in ast.iter_child_nodes(parent)}

    def of(self, node: ast.AST) -> ast.AST:
        return self._of[node]

    def replace(self, node: ast.AST, other: ast.AST) -> None:
        parent = self._of[node]
        for name, value in ast.iter_fields(parent):
            if value is node:
                setattr(parent, name, other)
            elif isinstance(value, list) and any(one is node for one in value):
                setattr(parent, name, [other if one is node else one for one in value])


Variant = tuple[str, str, "Callable[[], None]"]


def _variants(node: ast.AST, parents: _Parents) -> Iterator[Variant]:
    if isinstance(node, ast.Compare):
        yield from _of_compare(node, parents)
    elif isinstance(node, ast.BoolOp):
        yield from _of_connective(node, parents)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield ast.unparse(node), ast.unparse(node.operand), lambda: parents.replace(node, node.operand)
    elif isinstance(node, (ast.If, ast.IfExp, ast.comprehension, ast.match_case)):
        yield from _of_condition(node)
    elif (isinstance(node, ast.Raise) and not _only_step_of_an_if(node, parents)) or (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
    ):
        yield ast.unparse(node), "pass", lambda: parents.replace(node, ast.Pass(lineno=node.lineno, col_offset=0))
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in QUANTIFIER:
        name = node.func
        yield ast.unparse(node), QUANTIFIER[name.id], lambda: setattr(name, "id", QUANTIFIER[name.id])


def _only_step_of_an_if(node: ast.Raise, parents: _Parents) -> bool:
    parent = parents.of(node)
    return isinstance(parent, ast.If) and parent.body == [node] and not parent.orelse


def _of_condition(node: ast.If | ast.IfExp | ast.comprehension | ast.match_case) -> Iterator[Variant]:
    if isinstance(node, ast.comprehension):
        if node.ifs:
            yield f"... if {ast.unparse(node.ifs[0])}", "...", node.ifs.clear
    elif isinstance(node, ast.match_case):
        if node.guard is not None:
            yield f"case ... if {ast.unparse(node.guard)}", "case ...", lambda: setattr(node, "guard", None)
    elif not isinstance(node.test, ast.Compare) and ast.unparse(node.test) != "TYPE_CHECKING":
        for value in (False, True):
            yield f"if {ast.unparse(node.test)}", f"if {value}", lambda v=value: setattr(node, "test", ast.Constant(v))


def _of_compare(node: ast.Compare, parents: _Parents) -> Iterator[Variant]:
    before = ast.unparse(node)

    def put(*, op: int, kind: type[ast.cmpop]) -> None:
        node.ops[op] = kind()

    for i, op in enumerate(node.ops):
        kind = NEIGHBOUR[type(op)]
        other = ast.Compare(node.left, [*node.ops[:i], kind(), *node.ops[i + 1 :]], node.comparators)
        yield before, ast.unparse(other), lambda i=i, kind=kind: put(op=i, kind=kind)
    if len(node.ops) == 1:
        for value in (True, False):
            yield before, str(value), lambda v=value: parents.replace(node, ast.Constant(v))
    else:
        first = ast.Compare(node.left, node.ops[:-1], node.comparators[:-1])
        last = ast.Compare(node.comparators[0], node.ops[1:], node.comparators[1:])
        for shorter in (first, last):
            yield before, ast.unparse(shorter), lambda s=shorter: parents.replace(node, s)


def _of_connective(node: ast.BoolOp, parents: _Parents) -> Iterator[Variant]:
    before = ast.unparse(node)
    other = CONNECTIVE[type(node.op)]()
    yield before, ast.unparse(ast.BoolOp(other, node.values)), lambda: setattr(node, "op", other)
    for gone in range(len(node.values)):
        rest = [value for i, value in enumerate(node.values) if i != gone]
        fewer = rest[0] if len(rest) == 1 else ast.BoolOp(node.op, rest)
        yield before, ast.unparse(fewer), lambda f=fewer: parents.replace(node, f)


def _where(tree: ast.Module, line: int) -> str:
    """The name of the function or class that a line is in, with those around it."""
    names = [
        scope
        for scope in ast.walk(tree)
        if isinstance(scope, (ast.FunctionDef, ast.ClassDef)) and scope.lineno <= line <= (scope.end_lineno or 0)
    ]
    return ".".join(scope.name for scope in sorted(names, key=lambda scope: scope.lineno)) or "the module"
