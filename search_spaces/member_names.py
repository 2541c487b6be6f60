"""Names of members in plain data, and where the files lie that some of them name."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ndecore.member_files import FileMember, file_member

SUM = "+"  # how regularizers are added


def summands(regularizer: Any) -> list[str]:
    """Return the names that a regularizer is the sum of."""
    return str(regularizer).split(SUM)


def renamed(value: Any, rename: Callable[[Path], Path]) -> Any:
    """Plain data in which each file of a member has another path: in texts, their sums, and keys (`my.py.weight`).

    Args:
        value: mappings with text keys, lists, tuples, texts and other plain values.
        rename: of the path of a file, its new path.
    """
    if isinstance(value, Mapping):
        return {_renamed_key(key, rename): renamed(below, rename) for key, below in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(renamed(below, rename) for below in value)
    return SUM.join(_renamed(part, rename) for part in summands(value)) if isinstance(value, str) else value


def located(value: Any, folder: Path | None) -> Any:
    """Plain data in which files are looked for from a folder; as they are named if it is None."""
    return value if folder is None else renamed(value, lambda path: (folder / path).resolve())


def relative(data: Any, folder: Path) -> Any:
    """The inverse of `located`: files below a folder by their place in it."""
    folder = folder.resolve()
    return renamed(data, lambda path: path.relative_to(folder) if path.is_relative_to(folder) else path)


def files_in(value: Any) -> Iterator[Path]:
    """Yield the files of members that plain data names, in its order, some more than once."""
    found: list[Path] = []

    def note(path: Path) -> Path:
        found.append(path)
        return path

    renamed(value, note)
    yield from found


def _renamed(name: str, rename: Callable[[Path], Path]) -> str:
    member = file_member(name)
    return name if member is None else str(FileMember(rename(member.path), member.name))


def _renamed_key(key: str, rename: Callable[[Path], Path]) -> str:
    summand, dot, name = key.rpartition(".")
    return f"{_renamed(summand, rename)}{dot}{name}" if file_member(key) is None else _renamed(key, rename)
