"""Annotated fields of a dataclass, read off the class; off its source if it is one of ours and not imported yet.

The source keeps torch out: the keys of a config are known in milliseconds.
"""

import ast
import sys
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, NamedTuple, get_origin, get_type_hints

from ndecore.errors import InputError

_HOUSE = __name__.partition(".")[0]


class Declaration(NamedTuple):
    """A field as its class declares it."""

    name: str
    annotation: Any  # Annotated[...]
    has_default: bool
    default: Any  # None where there is none, or where it is made anew for each object


class NotInSource(LookupError):
    """The source alone does not tell; the class must be imported."""


def declared_by(cls: type) -> tuple[Declaration, ...]:
    """The annotated fields of a class, its bases' first; none if it is no dataclass.

    Raises:
        InputError: it annotates fields and is no dataclass, or an annotation names what its module does not have.
    """
    own = vars(cls).get("__annotations__", {})
    if not is_dataclass(cls) or "__dataclass_fields__" not in vars(cls):
        wrong = [name for name, annotation in own.items() if "Annotated[" in str(annotation)]
        if wrong:
            raise InputError(
                f"{cls.__name__}: got the annotated field {wrong[0]!r} in a class that is no dataclass, allowed: a "
                "frozen dataclass; write @dataclass(frozen=True) above it"
            )
    if not is_dataclass(cls):
        return ()
    try:
        hints = {f.name: f.type for f in fields(cls)}
        if any(isinstance(hint, str) for hint in hints.values()):
            hints = get_type_hints(cls, include_extras=True)
    except NameError as error:
        raise InputError(f"{cls.__name__}: got an annotation that cannot be read ({error}), allowed: names that its "
                         "module has") from error  # fmt: skip
    return tuple(
        Declaration(
            f.name,
            hints[f.name],
            f.default is not MISSING or f.default_factory is not MISSING,
            None if f.default is MISSING else f.default,
        )
        for f in fields(cls)
        if get_origin(hints[f.name]) is Annotated
    )


def declared_in_source(module: str, name: str) -> tuple[Declaration, ...]:
    """The same of a class of ours, from its module's text; raise `NotInSource` where that does not tell."""
    return tuple(_source(module).fields(name).values())


def attribute_in_source(module: str, name: str, attribute: str) -> Any:
    """A class attribute of a class of ours, its bases' included, in the same way."""
    return _source(module).attribute(name, attribute)


@cache
def _source(module: str) -> "_Source":
    spec = find_spec(module) if _is_ours(module) else None
    if spec is None or spec.origin is None:
        raise NotInSource(module)
    return _Source(ast.parse(Path(spec.origin).read_text("utf-8")))


def _is_ours(module: str) -> bool:
    return module.partition(".")[0] == _HOUSE


class _Source(dict[str, Any]):
    """A module's names, by its syntax tree; looked up as `eval` asks for them."""

    def __init__(self, tree: ast.Module) -> None:
        super().__init__()
        self.classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
        self.imported: dict[str, tuple[str, str]] = {}
        self.assigned: dict[str, ast.expr] = {}
        for node in tree.body:
            if isinstance(node, ast.ImportFrom):
                self.imported |= {a.asname or a.name: (node.module or "", a.name) for a in node.names}
            elif isinstance(node, ast.Assign):
                self.assigned |= {target.id: node.value for target in node.targets if isinstance(target, ast.Name)}
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
                self.assigned[node.target.id] = node.value

    def __missing__(self, name: str) -> Any:
        if name in self.imported:
            return _found(*self.imported[name])
        return self.value(self.assigned[name])

    def value(self, expression: ast.expr) -> Any:
        """What an expression of the module is."""
        code = compile(ast.Expression(expression), _HOUSE, "eval")
        try:
            return eval(code, {}, self)  # our own source, where importing would load torch
        except NameError as error:
            raise NotInSource(str(error)) from error

    def fields(self, name: str) -> dict[str, Declaration]:
        """The annotated fields of a class, its bases' first."""
        node, found = self.classes[name], dict[str, Declaration]()
        for base in node.bases:
            if isinstance(base, ast.Name):
                found |= self._fields_of_base(base.id)
        if any("dataclass" in {_name(each), _name(getattr(each, "func", each))} for each in node.decorator_list):
            found |= {each.name: each for each in self._own_fields(node)}
        return found

    def _fields_of_base(self, name: str) -> dict[str, Declaration]:
        if name in self.classes:
            return self.fields(name)
        module, attribute = self.imported.get(name, ("", ""))
        return _source(module).fields(attribute) if _is_ours(module) else {}

    def attribute(self, name: str, attribute: str) -> Any:
        """What a class attribute is; raise `NotInSource` if neither the class nor its bases here say."""
        node = self.classes[name]
        for each in node.body:
            targets = each.targets if isinstance(each, ast.Assign) else [getattr(each, "target", None)]
            if attribute in map(_name, targets) and isinstance(each, ast.Assign | ast.AnnAssign) and each.value:
                return self.value(each.value)
        for base in map(_name, node.bases):
            module, imported = self.imported.get(base, ("", ""))
            source = self if base in self.classes else _source(module) if _is_ours(module) else None
            if source is not None:
                try:
                    return source.attribute(imported or base, attribute)
                except NotInSource:
                    continue
        raise NotInSource(attribute)

    def _own_fields(self, node: ast.ClassDef) -> Iterator[Declaration]:
        for each in node.body:
            if isinstance(each, ast.AnnAssign) and self.is_annotated(each.annotation):
                is_call = isinstance(each.value, ast.Call)  # field(default_factory=...)
                default = None if each.value is None or is_call else self.value(each.value)
                yield Declaration(_name(each.target), self.value(each.annotation), each.value is not None, default)

    def is_annotated(self, annotation: ast.expr | None) -> bool:
        """Whether it is `Annotated[...]`, or a name of ours for that."""
        if isinstance(annotation, ast.Subscript):
            return _name(annotation.value) == "Annotated"
        name = _name(annotation)
        module, attribute = self.imported.get(name, ("", ""))
        if _is_ours(module):
            return _source(module).is_annotated(ast.Name(attribute))
        return name in self.assigned and self.is_annotated(self.assigned[name])


def _name(node: ast.AST | None) -> str:
    return node.id if isinstance(node, ast.Name) else ""


def _found(module: str, name: str) -> Any:
    """A name of another module, which is imported only if that is loaded already or loads in a moment."""
    spec = find_spec(module) if _is_ours(module) else None
    is_package = spec is not None and spec.submodule_search_locations is not None  # ours hold registries alone
    if module in sys.modules or is_package or module.partition(".")[0] in sys.stdlib_module_names:
        return getattr(import_module(module), name)
    return _source(module)[name]
