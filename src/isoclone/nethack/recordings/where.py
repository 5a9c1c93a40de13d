"""`--where`: a condition on a game's log, read as an expression and never evaluated as code.

    role == 'Mon' and death != 'quit'
    points > 10000 or (maxlvl >= 5 and 'soldier ant' not in death)

Names are the fields of NetHack's xlogfile, or columns of the table of imported games. If a game
lacks a field, a comparison with it is unknown, and so is its negation. An unknown condition does
not match; `or` with a true part, and `and` with a false part, are known all the same.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from isoclone.base.errors import SpecError
from isoclone.base.records import shown

DEEPEST = 50  # levels of brackets, not, and minus; far below Python's own limit
ALIASES = {"alignment": "align", "depth": "maxlvl"}

_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda part, whole: part in whole,
    ast.NotIn: lambda part, whole: part not in whole,
}


class Where:
    """A condition on the fields of a game; call it with them."""

    def __init__(self, text: str, fields: set[str]):
        """Read `text`; `fields` are the names it may use.

        Raises:
            SpecError: not an expression, an unknown field, or anything but comparisons joined by
                and, or, not.
        """
        self.text = text
        self._said = f"--where {shown(text)}"
        try:
            self._tree = ast.parse(text, mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            why = error.msg if isinstance(error, SyntaxError) else str(error) or "nested too deep"
            raise SpecError(f"{self._said} cannot be read: {why}") from error
        known = fields | {a for a, name in ALIASES.items() if name in fields}
        self._check(self._tree, known, DEEPEST)
        if not isinstance(self._tree, ast.Compare | ast.BoolOp | ast.UnaryOp):
            raise SpecError(f"{self._said} compares nothing; try \"role == 'Mon'\"")

    def _check(self, node: ast.expr, fields: set[str], levels: int) -> None:
        if not levels:
            raise SpecError(f"{self._said} is nested more than {DEEPEST} deep")
        if isinstance(node, ast.Name):
            if node.id not in fields:
                known = ", ".join(sorted(fields))
                raise SpecError(f"--where: no field {shown(node.id)}; known: {known}")
            return
        for part in self._parts(node):
            self._check(part, fields, levels - 1)

    def _parts(self, node: ast.expr) -> list[ast.expr]:
        """Return the parts of an expression; raise SpecError if its kind is not allowed."""
        if isinstance(node, ast.Constant) and isinstance(node.value, str | int | float):
            return []
        if isinstance(node, ast.Tuple | ast.List):
            return node.elts
        if isinstance(node, ast.BoolOp):
            return node.values
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub):
            return [node.operand]
        if isinstance(node, ast.Compare) and all(type(op) in _COMPARE for op in node.ops):
            return [node.left, *node.comparators]
        part = shown(ast.get_source_segment(self.text, node))
        raise SpecError(
            f"{self._said}: {part} is not allowed; use names, numbers, quoted texts, "
            "comparisons, in, and, or, not"
        )

    def __call__(self, fields: Mapping[str, Any]) -> bool:
        """Return whether a game with these fields is known to match.

        Raises:
            SpecError: a text is compared with a number.
        """
        try:
            return bool(self._value(self._tree, fields))
        except TypeError as error:
            raise SpecError(f"{self._said} compares a text with a number: {error}") from error

    def _value(self, node: ast.expr, fields: Mapping[str, Any]) -> Any:
        """Return the value of an expression; None if it depends on a missing field."""
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, ast.Name):
            return fields.get(node.id, fields.get(ALIASES.get(node.id, node.id)))
        if isinstance(node, ast.BoolOp):
            values = (self._value(item, fields) for item in node.values)
            return _joined(values, decisive=isinstance(node.op, ast.Or))
        parts = [self._value(item, fields) for item in self._parts(node)]
        if isinstance(node, ast.Compare):
            compared = (
                None if left is None or right is None else _COMPARE[type(op)](left, right)
                for op, left, right in zip(node.ops, parts[:-1], parts[1:], strict=True)
            )
            return _joined(compared, decisive=False)
        if None in parts:
            return None
        if isinstance(node, ast.UnaryOp):
            return not parts[0] if isinstance(node.op, ast.Not) else -parts[0]
        return parts  # a list


def _joined(values: Iterable[Any], decisive: bool) -> bool | None:
    """Return the `or` (`decisive` True) or the `and` (False) of values; None is unknown."""
    unknown = False
    for value in values:
        if value is not None and bool(value) is decisive:
            return decisive
        unknown = unknown or value is None
    return None if unknown else not decisive
