"""The kinds of change: cosmic-ray's operators for bounds, constants and branches, and three of ours.

cosmic-ray deletes no statement, keeps `min` and `max`, and keeps the defaults of `.get`, so this module
adds those as operators of its plugin interface. Left out are mutants that say nothing here: `is` for
`==`, another decorator or type annotation, and more than one arithmetic operator for another.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import parso
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.operator import Example, Operator
from cosmic_ray.plugins import get_operator
from parso.python.tree import Keyword, Newline, PythonNode

from tests.mutation.sites import Site, code_at

_CORE: dict[str, tuple[str, ...]] = {
    "comparison": tuple(
        f"core/ReplaceComparisonOperator_{pair}"
        for pair in (
            *("Lt_LtE", "Lt_GtE", "LtE_Lt", "LtE_Gt", "Gt_GtE", "Gt_LtE", "GtE_Gt", "GtE_Lt"),
            *("Eq_NotEq", "NotEq_Eq", "Is_IsNot", "IsNot_Is"),
        )
    ),
    "arithmetic": tuple(
        f"core/ReplaceBinaryOperator_{pair}"
        for pair in ("Add_Sub", "Sub_Add", "Mul_Div", "Div_Mul", "FloorDiv_Mul", "Mod_Mul")
    ),
    "number": ("core/NumberReplacer",),
    "constant": ("core/ReplaceTrueWithFalse", "core/ReplaceFalseWithTrue"),
    "condition": (
        "core/AddNot",
        "core/ReplaceAndWithOr",
        "core/ReplaceOrWithAnd",
        "core/ReplaceUnaryOperator_Delete_Not",
        "core/ReplaceUnaryOperator_Delete_USub",
    ),
    "loop": (
        "core/ZeroIterationForLoop",
        "core/ReplaceBreakWithContinue",
        "core/ReplaceContinueWithBreak",
    ),
    "except": ("core/ExceptionReplacer",),
}


class DeleteStatement(Operator):
    """Replace a statement of a function by `pass`: a call, a return, a raise, an `if` without `else`.

    The first assignment of a name stays: without it, Python itself would fail.
    """

    def mutation_positions(self, node: Any) -> Iterator[tuple[Any, Any]]:
        """Yield the position of `node` if it is such a statement."""
        if _is_deletable(node):
            yield node.start_pos, node.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        """Return `pass` with the comments and the indentation of `node`."""
        first, last = node.get_first_leaf(), node.get_last_leaf()
        leaf = Keyword("pass", first.start_pos, prefix=first.prefix)
        end = Newline("\n", leaf.end_pos, prefix=last.prefix if last.type == "newline" else "")
        made: Any = PythonNode("simple_stmt", [leaf, end])
        made.parent = node.parent
        return made

    @classmethod
    def examples(cls) -> Iterable[Example]:
        """Return statements of each kind, without and with what is kept."""
        return (
            Example("def f():\n    g()\n", "def f():\n    pass\n"),
            Example("def f(x):\n    # why\n    return x\n", "def f(x):\n    # why\n    pass\n"),
            Example("def f(x):\n    if x:\n        raise E\n", "def f(x):\n    pass\n"),
            Example("def f(x):\n    if x:\n        y = 1\n    else:\n        z()\n",
                    "def f(x):\n    if x:\n        y = 1\n    else:\n        pass\n"),
            Example("def f():\n    x = 1\n    x = 2\n", "def f():\n    x = 1\n    pass\n"),
            Example("def f():\n    x += 1\n", "def f():\n    pass\n"),
            Example("def f(s):\n    s.x = 1\n", "def f(s):\n    pass\n"),
        )  # fmt: skip


class SwapMinMax(Operator):
    """Call `min` for `max`, and `max` for `min`."""

    def mutation_positions(self, node: Any) -> Iterator[tuple[Any, Any]]:
        """Yield the position of `node` if it is the name of such a call."""
        if node.type == "name" and node.value in ("min", "max"):
            after = node.get_next_sibling()
            if after is not None and after.type == "trailer" and after.children[0].value == "(":
                yield node.start_pos, node.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        """Return the other name."""
        node.value = {"min": "max", "max": "min"}[node.value]
        return node

    @classmethod
    def examples(cls) -> Iterable[Example]:
        """Return both directions."""
        return (Example("x = max(a, b)", "x = min(a, b)"), Example("min(a)", "max(a)"))


class EmptyDefault(Operator):
    """Drop the second argument of `.get(key, default)`."""

    def mutation_positions(self, node: Any) -> Iterator[tuple[Any, Any]]:
        """Yield the position of the arguments if `node` is such a call."""
        if node.type == "arglist" and len(node.children) == 3:
            name = node.parent.get_previous_sibling()
            if name is not None and name.get_code().strip() == ".get":
                yield node.start_pos, node.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        """Return the first argument alone."""
        return node.children[0]

    @classmethod
    def examples(cls) -> Iterable[Example]:
        """Return one call."""
        return (Example("x = d.get(a, 0)", "x = d.get(a)"),)


def _is_deletable(node: Any) -> bool:
    if node.type == "if_stmt":
        return len(node.children) == 4 and _function_of(node) is not None
    if node.type != "simple_stmt":
        return False
    function, statement = _function_of(node), node.children[0]
    if function is None or statement.type in ("string", "strings", "import_from", "import_name"):
        return False
    if statement.get_code(include_prefix=False) in ("pass", "...", "continue", "break"):
        return False
    if statement.type in ("global_stmt", "nonlocal_stmt", "assert_stmt"):
        return False
    return not (statement.type == "expr_stmt" and _binds_first(statement, function))


def _binds_first(statement: Any, function: Any) -> bool:
    """Whether a plain assignment is the first one of its name in the function."""
    if statement.children[0].type != "name" or _is_augmented(statement):
        return statement.children[0].type in ("testlist_star_expr", "atom")
    name = statement.children[0].value
    for node in ast_nodes(function):
        if node.start_pos >= statement.start_pos:
            break
        if node.type == "name" and node.value == name and node.is_definition():
            return False
    return True


def _is_augmented(statement: Any) -> bool:
    sign = statement.children[1]
    value: str = getattr(sign, "value", "")
    return value.endswith("=") and value != "="


def _function_of(node: Any) -> Any:
    while node is not None and node.type != "funcdef":
        node = node.parent
    return node


_OWN: dict[str, type[Operator]] = {
    "DeleteStatement": DeleteStatement,
    "SwapMinMax": SwapMinMax,
    "EmptyDefault": EmptyDefault,
}
FAMILIES: dict[str, tuple[str, ...]] = {**_CORE, "own": tuple(_OWN)}


def operator_of(name: str) -> Operator:
    """Return an operator by its name."""
    made: Operator = (_OWN[name] if name in _OWN else get_operator(name))()
    return made


def check_own_operators() -> None:
    """Run the examples of our operators. Raises `AssertionError` where one is wrong."""
    for name, operator in _OWN.items():
        for example in operator.examples():
            made = mutate_code(example.pre_mutation_code, operator(), example.occurrence)
            assert made == example.post_mutation_code, (name, example, made)


def sites_of(path: str, source: str) -> list[Site]:
    """Return every place of a module that an operator can change."""
    lines = source.splitlines()
    operators = [(name, operator_of(name)) for names in FAMILIES.values() for name in names]
    counts = dict.fromkeys((name for name, _ in operators), 0)
    found: list[Site] = []
    for node in ast_nodes(get_ast(source)):
        is_code = not _is_left_out(node)
        for name, operator in operators:
            for start, end in operator.mutation_positions(node):
                occurrence = counts[name]
                counts[name] += 1
                if is_code:
                    text = code_at(lines, start, end)
                    found.append(Site(path, name, occurrence, start[0], start[1], text))
    return found


def mutated(source: str, site: Site) -> str | None:
    """Return the source with the change of `site`; None where it is no valid Python."""
    made: str | None = mutate_code(source, operator_of(site.operator), site.occurrence)
    if made is None or made == source:
        return None
    try:
        compile(made, site.path, "exec")
    except SyntaxError:
        return None
    return made


def _is_left_out(node: Any) -> bool:
    """Whether `node` is part of an annotation, a decorator, or code for type checkers."""
    if node.type == "operator" and node.parent.type in ("parameters", "lambdef"):
        return True  # the star before keyword-only parameters
    child = node
    for parent in _parents(node):
        if parent.type == "decorator":
            return True
        index = _index(parent.children, child)
        if parent.type == "annassign" and index == 1:
            return True
        if parent.type == "tfpdef" and index == 2:
            return True
        if parent.type == "funcdef" and _is_arrow(parent.children[index - 1]):
            return True
        if parent.type == "if_stmt" and parent.children[1].get_code().strip() == "TYPE_CHECKING":
            return True
        child = parent
    return bool(node.type == "if_stmt" and node.children[1].get_code().strip() == "TYPE_CHECKING")


def _parents(node: Any) -> Iterator[Any]:
    while (node := node.parent) is not None:
        yield node


def _index(children: Sequence[Any], child: Any) -> int:
    return next(index for index, one in enumerate(children) if one is child)


def _is_arrow(node: parso.tree.NodeOrLeaf) -> bool:
    return bool(getattr(node, "value", "") == "->")
