"""YAML with places: plain data, and the line of every key and item, so that a problem can say where it is."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from search_spaces.problems import Problem, SpecError, shown

Place = tuple[str | int, ...]  # the keys and indices that lead from the root of a file to a value

_FLOAT = re.compile(
    r"""^(?: [-+]? (?: [0-9]+\.[0-9]* | \.[0-9]+ ) (?: [eE][-+]?[0-9]+ )?
          | [-+]? [0-9]+ [eE][-+]?[0-9]+
          | [-+]? \.(?:inf|Inf|INF) | \.(?:nan|NaN|NAN) )$""",
    re.VERBOSE,
)


class _Loader(yaml.SafeLoader):
    """Safe YAML 1.1 without aliases and tags, in which `1e-6` is a number and a date is text.

    Aliases and tags have no use in a spec; without them a small file is small data, of JSON's types only.
    """

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Compose as YAML does, refusing aliases and tags."""
        event: Any = self.peek_event()
        tag = getattr(event, "tag", None)
        if isinstance(event, yaml.AliasEvent) or tag is not None:
            got = "an alias" if tag is None else f"the tag {tag}"
            raise yaml.composer.ComposerError(None, None, got, event.start_mark)
        return super().compose_node(parent, index)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, regexp) for tag, regexp in resolvers if not tag.endswith((":float", ":timestamp"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+0123456789."))


@dataclass(frozen=True)
class Document:
    """A file's data and where each part of it stands.

    Args:
        path: the file, as the user named it.
        data: mappings with text keys, lists, texts, numbers, booleans and None.
        lines: the line, from 1, of each place.
        is_stored: whether a study keeps it, with the files of members that it names.
    """

    path: str
    data: Any
    lines: Mapping[Place, int]
    is_stored: bool = False

    @property
    def folder(self) -> Path | None:
        """From where files that it names are looked for; None: they stay as they are named, as in a stored one."""
        return None if self.is_stored else Path(self.path).parent

    @property
    def root(self) -> "Node":
        """The whole of the file."""
        return Node(self, (), self.data)

    def line(self, place: Place) -> int:
        """Return the line of `place`, or of the closest thing around it if nothing stands there."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place, 1)


@dataclass(frozen=True)
class Node:
    """A value in a document together with its place; the value is None where nothing stands."""

    document: Document
    place: Place
    value: Any

    def at(self, key: str | int) -> "Node":
        """Return the child called `key`, whose value is None if there is none."""
        if isinstance(self.value, dict):
            value = self.value.get(key)
        else:
            value = self.value[key] if isinstance(self.value, list) and isinstance(key, int) else None
        return Node(self.document, (*self.place, key), value)

    def children(self) -> Iterator["Node"]:
        """Yield the values of a mapping or the items of a list, in the file's order."""
        yield from map(self.at, self.value if isinstance(self.value, dict) else range(len(self.value)))

    @property
    def name(self) -> str:
        """The last key of the place."""
        return str(self.place[-1]) if self.place else ""

    def problem(self, allowed: str, got: str | None = None, remedy: str = "") -> Problem:
        """Return the problem that this value (or what `got` says of it) is not what is allowed here."""
        got = shown(self.value) if got is None else got
        return Problem(self.document.path, self.document.line(self.place), dotted(self.place), got, allowed, remedy)


def dotted(place: Place) -> str:
    """Return a place as messages have it: `start_from[1].weight`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).removeprefix(".")


def load_document(path: Path | str) -> Document:
    """Read a YAML file; raise SpecError if it cannot be read, is not YAML, or has a key twice."""
    if Path(path).is_fifo():  # which would be waited for
        raise SpecError([Problem(str(path), None, "", "a pipe", "a YAML file that can be read")])
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        got = (error.strerror or "an unreadable file").lower()
        raise SpecError([Problem(str(path), None, "", got, "a YAML file that can be read")]) from error
    except UnicodeDecodeError as error:
        raise SpecError([Problem(str(path), None, "", "bytes that are not UTF-8", "a text file")]) from error
    return parse_document(text, str(path))


def parse_document(text: str, path: str) -> Document:
    """Read YAML text that came from `path`; raise SpecError as `load_document` does."""
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        reader = _Reader(path, loader)
        data = None if root is None else reader.plain(root, ())
    # ValueError: an integer of more digits than Python converts. RecursionError: brackets nested a thousand deep.
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise SpecError([_syntax_problem(error, path)]) from error
    if reader.problems:
        raise SpecError(reader.problems)
    return Document(path, data, reader.lines)


class _Reader:
    """Turns YAML nodes into plain data, keeping the line of each place, and a problem for each odd key."""

    def __init__(self, path: str, loader: _Loader) -> None:
        self.lines: dict[Place, int] = {}
        self.problems: list[Problem] = []
        self._path, self._loader = path, loader

    def plain(self, node: yaml.Node, place: Place) -> Any:
        self.lines.setdefault(place, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, place)
        if isinstance(node, yaml.SequenceNode):
            return [self.plain(item, (*place, index)) for index, item in enumerate(node.value)]
        return self._loader.construct_object(node)

    def _mapping(self, node: yaml.MappingNode, place: Place) -> dict[str, Any]:
        data: dict[str, Any] = {}
        for key, value in node.value:
            line, here = key.start_mark.line + 1, (*place, str(key.value))
            if not (isinstance(key, yaml.ScalarNode) and key.tag.endswith(":str")):
                name = key.value if isinstance(key, yaml.ScalarNode) else "that is not one text"
                self._refuse(line, place, f"the key {name}", "text as a key; put it in quotes")
            elif key.value in data:
                self._refuse(line, here, f"the key again, after line {self.lines[here]}", "each key once")
            else:
                self.lines[here] = line
                data[key.value] = self.plain(value, here)
        return data

    def _refuse(self, line: int, place: Place, got: str, allowed: str) -> None:
        self.problems.append(Problem(self._path, line, dotted(place), got, allowed))


def _syntax_problem(error: Exception, path: str) -> Problem:
    mark = getattr(error, "problem_mark", None)
    why = getattr(error, "problem", None) or str(error).splitlines()[0]
    allowed = "plain YAML without tags and aliases"
    return Problem(path, mark.line + 1 if mark else None, "", f"text that cannot be read ({why})", allowed)
