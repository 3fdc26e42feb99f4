"""Looks at code that a model wrote, by its syntax tree. It is never run. Pure.

So it can be said that a function has the form of what was asked for, not that it computes it.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

LONGEST = 8_000
"""Characters; what is longer is no answer to "write one function", and deep nesting costs the parser its stack."""
_FENCE = re.compile(r"```[a-zA-Z0-9]*\n(.*?)(?:```|\Z)", re.DOTALL)
_LOOPS = (ast.For, ast.While, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_FEATURES: Mapping[str, tuple[type[ast.AST], ...]] = {
    "loop": _LOOPS,
    "if": (ast.If, ast.IfExp, ast.Match),
    "try": (ast.Try,),
    "return": (ast.Return,),
    "raise": (ast.Raise,),
    "compare": (ast.Compare,),
    "subscript": (ast.Subscript,),
    "slice": (ast.Slice,),
    "lambda": (ast.Lambda,),
    "add": (ast.Add,),
    "sub": (ast.Sub,),
    "mul": (ast.Mult,),
    "div": (ast.Div,),
    "floordiv": (ast.FloorDiv,),
    "mod": (ast.Mod,),
}
_CALL = re.compile(r"call:[A-Za-z_]\w*")
_MODULES = frozenset({"math", "statistics", "itertools", "operator", "functools", "collections", "decimal", "typing"})
_UNSAFE_CALLS = frozenset({"eval", "exec", "compile", "open", "__import__", "input", "globals", "setattr", "system"})


def is_feature(name: str) -> bool:
    """Whether `name` is something that Written.has finds: `loop`, `call:max`, or several of them with `|`."""
    return all(one in _FEATURES or _CALL.fullmatch(one) is not None for one in name.split("|"))


@dataclass(frozen=True, slots=True)
class Written:
    """The function that was asked for, and the module in which the model put it."""

    module: ast.Module
    function: ast.FunctionDef

    @property
    def parameters(self) -> tuple[str, ...]:
        """The names of the function's parameters, in order; `*` and `**` stand before theirs."""
        given = self.function.args
        names = [one.arg for one in (*given.posonlyargs, *given.args)]
        names += [f"*{given.vararg.arg}"] if given.vararg else []
        names += [one.arg for one in given.kwonlyargs]
        return tuple(names + ([f"**{given.kwarg.arg}"] if given.kwarg else []))

    def has(self, feature: str) -> bool:
        """Whether the function has one of the features that `feature` names."""
        return any(self._has(one) for one in feature.split("|"))

    @property
    def is_safe(self) -> bool:
        """Whether the module neither imports, opens nor runs what a price function has no business with."""
        imported = {name.split(".")[0] for node in ast.walk(self.module) for name in _imported(node)}
        return imported <= _MODULES and not _UNSAFE_CALLS & set(_calls(self.module))

    @property
    def plain(self) -> str:
        """The function's source without comments and layout, so that two answers can be compared."""
        return ast.unparse(self.function)

    def _has(self, one: str) -> bool:
        if one.startswith("call:"):
            return one.removeprefix("call:") in set(_calls(self.function))
        return any(isinstance(node, _FEATURES[one]) for node in ast.walk(self.function))


def written(text: str, name: str) -> Written | None:
    """The top-level function `name` of what the model answered, in a code fence or bare; None where there is none."""
    fenced = _FENCE.search(text)
    source = fenced[1] if fenced else text
    if len(source) > LONGEST:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # SyntaxWarning, of code that is not ours
            tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    found = (node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name)
    function = next(found, None)
    return None if function is None else Written(tree, function)


def _imported(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        yield node.module or ""


def _calls(tree: ast.AST) -> Iterator[str]:
    """The last part of the name of each function that is called."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name):
                yield node.func.id
            elif isinstance(node.func, ast.Attribute):
                yield node.func.attr
