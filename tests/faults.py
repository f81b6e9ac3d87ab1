"""Small faults to put into the code: one operator, number, sign, tie rule or guard.

Every kind is as likely to be drawn as any other, kernels are as likely as the files of
validation, and so is every place in them:

comparison   another operator, in Python and in LLVM IR (``icmp_signed("<", ...)``)
bound        an integer, or where a ``range`` ends, one more or one less
sign         ``+`` and ``-``, ``builder.add`` and ``sub``, a sign before a value
tie rule     the second of two keys is left out: ``a < b or (a == b and i < j)``
guard        ``if ...:`` that ends by raising, returning, continuing or breaking: never

What only says or speeds something up is left as it is: strings, annotations, decorators
(Numba's options), what is raised or warned, lines and functions that fetch memory ahead
(with ``fetch`` in a name or a comment), anything that asks ``on("...")`` (an
optimization that may be turned off), alignments, constant subscripts (a wrong argument
or axis, which any use notices); and the two files of Numba's options and the switches.
"""

import ast
import bisect
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
MUTATED = (
    "ann/kernels/*.py",
    "ann/validation.py",
    "ann/guard.py",
    "ann/filters.py",
    "ann/soundness.py",
    "ann/storage/layout.py",
)
LEFT_OUT = {"__init__.py", "_jit.py", "tricks.py"}
KINDS = ("comparison", "bound", "sign", "tie rule", "guard")

OTHERS = {
    "<": ("<=", ">"),
    "<=": ("<", ">="),
    ">": (">=", "<"),
    ">=": (">", "<="),
    "==": ("!=",),
    "!=": ("==",),
    "is": ("is not",),
    "is not": ("is",),
    "in": ("not in",),
    "not in": ("in",),
}
ORDERS = ast.Lt, ast.LtE, ast.Gt, ast.GtE
IR_COMPARISONS = {"icmp_signed", "icmp_unsigned", "fcmp_ordered", "fcmp_unordered"}
IR_OPPOSITES = {"add": "sub", "sub": "add", "fadd": "fsub", "fsub": "fadd"}
UNTOUCHED_CALLS = {"on", "warn", "with_traceback", "declare_intrinsic"}
UNTOUCHED_KEYWORDS = {"align", "fastmath", "axis", "stacklevel"}


class Fault(NamedTuple):
    """One place of one file, and what it is replaced by."""

    file: str
    line: int
    kind: str
    start: int  # bytes of the file
    stop: int
    before: str
    after: str
    text: str  # of the line, to show

    def applied(self, source: bytes) -> bytes:
        """Return the file's text with the fault in it."""
        return source[: self.start] + self.after.encode() + source[self.stop :]

    def __str__(self) -> str:
        before, after = (" ".join(text.split()) for text in (self.before, self.after))
        where = f"{self.file}:{self.line} {self.kind}"
        return f"{where}: `{before}` → `{after}` in `{self.text}`"


# --- finding places -------------------------------------------------------------------


class Finder:
    """Finds all faults of one file."""

    def __init__(self, file: str, source: bytes) -> None:
        self.file, self.source = file, source
        self.lines = source.splitlines(keepends=True)
        self.starts = [0]
        for line in self.lines:
            self.starts.append(self.starts[-1] + len(line))

    def all(self) -> list[Fault]:
        """Return them in the order of the text."""
        return sorted(self._below(ast.parse(self.source)), key=lambda m: m[3:])

    def _below(self, node: ast.AST) -> Iterator[Fault]:
        for child in ast.iter_child_nodes(node):
            if not self._is_left_alone(child, node):
                yield from self._of(child)
                yield from self._below(child)

    def _is_left_alone(self, node: ast.AST, parent: ast.AST) -> bool:
        aside = (
            *getattr(parent, "decorator_list", ()),
            getattr(parent, "annotation", None),
            getattr(parent, "returns", None),
        )
        if any(node is each for each in aside):
            return True
        match node:
            case ast.Raise() | ast.JoinedStr():
                return True
            case ast.keyword(arg=name):
                return name in UNTOUCHED_KEYWORDS
            case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)):
                return name in UNTOUCHED_CALLS or "fetch" in name
            case ast.FunctionDef(name=name) if "fetch" in name:
                return True
            case ast.Constant() if isinstance(parent, ast.Subscript):
                return True
            case ast.stmt() if self._is_optional(node):
                return True
        return False

    def _is_optional(self, node: ast.stmt) -> bool:
        """Whether a statement depends on a switch, or is about prefetching alone."""
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            return False
        body: list[ast.stmt] = getattr(node, "body", [])
        if body and all("fetch" in self._text(each) for each in body):
            return True
        last = body[0].lineno - 1 if body else node.end_lineno or node.lineno
        head = b"".join(self.lines[node.lineno - 1 : max(last, node.lineno)])
        return bool(re.search(rb"\bon\(\"|fetch", head))

    # --- what may become of a node

    def _of(self, node: ast.AST) -> Iterator[Fault]:
        match node:
            case ast.Compare(left=left, comparators=others):
                for a, b in zip([left, *others], others, strict=False):
                    yield from self._operator(a, b, "comparison", OTHERS)
                yield from self._tuples(node)
            case ast.Constant(value=int() as value) if not isinstance(value, bool):
                for other in (value - 1, value + 1):
                    yield self._replaced(node, "bound", str(other))
            case ast.BinOp(left=a, right=b, op=ast.Add() | ast.Sub()):
                if not any(_is_text(side) for side in (a, b)):
                    yield from self._operator(a, b, "sign", {"+": "-", "-": "+"})
            case ast.AugAssign(target=a, value=b, op=ast.Add() | ast.Sub()):
                yield from self._operator(a, b, "sign", {"+=": ["-="], "-=": ["+="]})
            case ast.UnaryOp(op=ast.USub()):
                start, _ = self._place(node)
                yield self._made("sign", start, start + 1, "+")
            case ast.BoolOp():
                yield from self._ties(node)
            case ast.If(test=test, body=[*_, last], orelse=[]) if isinstance(
                last, ast.Raise | ast.Return | ast.Continue | ast.Break
            ):
                yield self._replaced(test, "guard", "False")
            case ast.Call():
                yield from self._call(node)

    def _call(self, node: ast.Call) -> Iterator[Fault]:
        match node:
            case ast.Call(func=ast.Name(id="range"), args=args) if args:
                stop = args[min(1, len(args) - 1)]
                if not isinstance(stop, ast.Constant):
                    for change in ("- 1", "+ 1"):
                        after = f"({self._text(stop)}) {change}"
                        yield self._replaced(stop, "bound", after)
            case ast.Call(func=ast.Attribute(attr=name), args=[first, *_]) if (
                name in IR_COMPARISONS and isinstance(first, ast.Constant)
            ):
                for other in OTHERS[str(first.value)]:
                    yield self._replaced(first, "comparison", f'"{other}"')
            case ast.Call(func=ast.Attribute(attr=name) as called, args=[_, _]) if (
                name in IR_OPPOSITES and "uilder" in self._text(called)
            ):
                stop = self._place(called)[1]
                after = IR_OPPOSITES[name]
                yield self._made("sign", stop - len(name), stop, after)
            case ast.Call(func=ast.Attribute(attr="lexsort"), args=[ast.Tuple() as by]):
                *_, main = by.elts
                yield self._replaced(by, "tie rule", f"({self._text(main)},)")

    def _ties(self, node: ast.BoolOp) -> Iterator[Fault]:
        for i, value in enumerate(node.values):
            rest = node.values[:i] + node.values[i + 1 :]
            if isinstance(node.op, ast.Or):
                is_second = any(map(_is_order, rest)) and _is_of_ties(value)
            else:
                is_second = _is_order(value) and any(map(_is_equality, rest[:i]))
            if is_second:
                word = " or " if isinstance(node.op, ast.Or) else " and "
                after = word.join(f"({self._text(each)})" for each in rest)
                yield self._replaced(node, "tie rule", after)

    def _tuples(self, node: ast.Compare) -> Iterator[Fault]:
        match node:
            case ast.Compare(
                left=ast.Tuple(elts=[a, _, *_]), comparators=[ast.Tuple(elts=[b, *_])]
            ) if _is_order(node):
                (start, _), (_, stop) = self._place(node.left), self._place(node)
                right = self._place(node.comparators[0])[0]
                between = self.source[self._place(node.left)[1] : right].decode()
                after = f"{self._text(a)}{between}{self._text(b)}"
                yield self._made("tie rule", start, stop, after)

    # --- places in the text

    def _operator(self, a, b, kind, others) -> Iterator[Fault]:
        """Replace the operator between two operands."""
        (_, begin), (end, _) = self._place(a), self._place(b)
        between = self.source[begin:end].decode()
        between = re.sub(r"#.*", lambda comment: " " * len(comment[0]), between)
        found = re.search(r"is\s+not|not\s+in|is|in|[<>=!]=|[+-]=|[<>+-]", between)
        if found is None:
            raise ValueError(f"{self.file}:{a.lineno}: no operator in {between!r}")
        start, stop = (begin + len(between[:at].encode()) for at in found.span())
        for other in others[" ".join(found[0].split())]:
            yield self._made(kind, start, stop, other)

    def _place(self, node: ast.AST) -> tuple[int, int]:
        return (
            self.starts[node.lineno - 1] + node.col_offset,
            self.starts[node.end_lineno - 1] + node.end_col_offset,
        )

    def _text(self, node: ast.AST) -> str:
        start, stop = self._place(node)
        return self.source[start:stop].decode()

    def _replaced(self, node: ast.AST, kind: str, after: str) -> Fault:
        return self._made(kind, *self._place(node), after)

    def _made(self, kind, start, stop, after) -> Fault:
        line = bisect.bisect(self.starts, start)
        shown = self.lines[line - 1].decode().strip()
        before = self.source[start:stop].decode()
        return Fault(self.file, line, kind, start, stop, before, after, shown)


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.JoinedStr) or (
        isinstance(node, ast.Constant) and isinstance(node.value, str | bytes)
    )


def _is_order(node: ast.AST) -> bool:
    return isinstance(node, ast.Compare) and isinstance(node.ops[0], ORDERS)


def _is_of_ties(node: ast.AST) -> bool:
    return isinstance(node, ast.BoolOp) and _is_equality(node.values[0])


def _is_equality(node: ast.AST) -> bool:
    """Whether two keys are compared: neither is a constant, or computed."""
    key = ast.Name | ast.Subscript | ast.Attribute
    match node:
        case ast.Compare(left=a, ops=[ast.Eq()], comparators=[b]):
            return isinstance(a, key) and isinstance(b, key)
    return False


def drawn(seed: int, count: int) -> list[Fault]:
    """Return so many faults, no two in one place: kind, kernels or not, then place."""
    found: dict[str, dict[bool, list[Fault]]] = {kind: {} for kind in KINDS}
    for pattern in MUTATED:
        paths = sorted(ROOT.glob(pattern))
        if not paths:
            raise FileNotFoundError(f"there is no {pattern} to mutate")
        for path in paths:
            if path.name not in LEFT_OUT:
                file, is_kernel = path.relative_to(ROOT), path.parent.name == "kernels"
                for fault in Finder(file.as_posix(), path.read_bytes()).all():
                    found[fault.kind].setdefault(is_kernel, []).append(fault)
    chance, chosen = random.Random(seed), dict[tuple[str, int], Fault]()
    while len(chosen) < count:
        places = found[chance.choice(KINDS)]
        fault = chance.choice(places[chance.choice(sorted(places))])
        chosen.setdefault((fault.file, fault.start), fault)
    return list(chosen.values())
