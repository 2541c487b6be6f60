"""A member of a family in a file of the user's: `my_penalty.py`, or `my_penalty.py:MyPenalty` where it defines several.

The file's code is run once in a process, with the rights of whoever runs it.
"""

import sys
import traceback
from functools import cache
from hashlib import sha256
from inspect import isabstract
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from ndecore.errors import InputError

_COPY_OF = "# nde-study: a copy of "


class FileMember(NamedTuple):
    """Where a member stands."""

    path: Path
    name: str  # of the class; empty if the file has one alone

    def __str__(self) -> str:
        return f"{self.path}:{self.name}" if self.name else str(self.path)


def file_member(reference: object) -> FileMember | None:
    """The file and class that a text names; None if it names none."""
    if not isinstance(reference, str):
        return None
    if reference.endswith(".py"):
        return FileMember(Path(reference), "")
    path, colon, name = reference.rpartition(".py:")
    return FileMember(Path(f"{path}.py"), name) if colon and path and name.isidentifier() else None


def load_member(member: FileMember, family: str, base: type) -> type:
    """The class that a file defines.

    Args:
        member: which.
        family: what it is to be, for messages.
        base: what it must be derived from.

    Raises:
        InputError: the file cannot be read or run, or does not define one such class.
    """
    module = load_file(member.path)
    own = {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, base) and value.__module__ == module.__name__
    }
    whole = {name: value for name, value in own.items() if not name.startswith("_") and not isabstract(value)}
    wanted = {member.name} & own.keys() if member.name else set(whole) or set(own)
    if len(wanted) != 1:
        got = f"no class {member.name!r}" if member.name else f"{len(own)} classes"
        there = f", there are: {', '.join(own)}" if own else ""
        raise InputError(
            f"{family}: got {member.path}, which defines {got} derived from {base.__name__}{there}; allowed: one, or "
            f"{member.path.name}:NAME"
        )
    found = own[wanted.pop()]
    if isabstract(found):
        lacking = ", ".join(sorted(getattr(found, "__abstractmethods__", ())))
        raise InputError(f"{family}: got {member}, whose class {found.__name__} lacks {lacking}; define each of them")
    return found


def load_file(path: Path) -> ModuleType:
    """The module that a file is, run the first time; raise `InputError` with the place of what goes wrong.

    A copy that a study has made is known by its last line, see `copy_text`. Its `__file__` is the original, so that
    data beside that is found, and its errors are told at the original's lines.
    """
    path = path.expanduser().resolve()
    if not path.is_file():
        raise InputError(f"{path}: got no file, allowed: the path of a Python file")
    facts = path.stat()
    return _loaded(path, facts.st_mtime_ns, facts.st_size)


@cache
def _loaded(path: Path, time_ns: int, n_bytes: int) -> ModuleType:
    name = f"{path.stem}_{sha256(str(path).encode()).hexdigest()[:12]}"  # stable: pickles name a class by its module
    module, original = ModuleType(name), copied_from(path)
    module.__file__ = str(original if original is not None and original.is_file() else path)
    sys.modules[name] = module
    try:
        exec(compile(path.read_bytes(), told_path(path), "exec", dont_inherit=True), vars(module))
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise InputError(f"{place_of(error, path)}: {described(error)}") from error
    return module


def copy_text(original: Path) -> str:
    """What a copy of a file holds: its text, and a last line that tells where it is from.

    Raises:
        InputError: the file cannot be read.
    """
    try:
        text = original.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{original}: cannot be read: {error}") from error
    return f"{text}\n{_COPY_OF}{original}\n"


def copied_from(path: Path) -> Path | None:
    """The file that a copy was made of; None of any other file."""
    last = path.read_text(encoding="utf-8", errors="replace").rstrip("\n").rpartition("\n")[2]
    return Path(last.removeprefix(_COPY_OF)) if last.startswith(_COPY_OF) else None


def told_path(path: Path) -> str:
    """Under which name errors tell of a file: that of its original, as long as that has the same lines."""
    original = copied_from(path)
    is_same = original is not None and original.is_file() and copy_text(original) == path.read_text(encoding="utf-8")
    return str(original if is_same else path)


def place_of(error: BaseException, path: Path) -> str:
    """`FILE:LINE` of the last line of `path` that an error came through."""
    name = told_path(path)
    line = error.lineno if isinstance(error, SyntaxError) and error.filename == name else None
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == name]
    return ":".join(map(str, (name, *([line] if line else lines[-1:]))))


def described(error: BaseException) -> str:
    """An error on one line: its type and the first line of its text."""
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    return ": ".join(part for part in (type(error).__name__, text.partition("\n")[0]) if part)
