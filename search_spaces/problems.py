"""What is wrong in a file of the user's: where, what was got, what is allowed, what to do; one line each."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches

from ndecore.errors import InputError

_SHOWN_LENGTH = 60  # characters of a value in a message


@dataclass(frozen=True)
class Problem:
    """One thing wrong, as `FILE:LINE: key.path: got X, allowed: Y; remedy`.

    Args:
        path: the file, as the user named it.
        line: from 1; None where the file as a whole is meant.
        key: dotted path inside the file, empty for its root.
        got: what stands there, as text.
        allowed: what may stand there, as text.
        remedy: what to do about it, where that is not plain from `allowed`.
    """

    path: str
    line: int | None
    key: str
    got: str
    allowed: str
    remedy: str = ""

    def __str__(self) -> str:
        where = self.path if self.line is None else f"{self.path}:{self.line}"
        what = f"got {self.got}, allowed: {self.allowed}"
        line = ": ".join(part for part in (where, self.key, what) if part) + (self.remedy and f"; {self.remedy}")
        # A key may hold any character: one that ends a line, or moves the terminal's cursor, is shown by its number.
        return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)


class SpecError(InputError):
    """A file is not what it should be; `problems` has all that was found, its text has one line for each."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda problem: (problem.path, problem.line or 0)))
        super().__init__(self.problems)  # not the text: an exception is pickled by its arguments

    def __str__(self) -> str:
        return "\n".join(map(str, self.problems))


def shown(value: object) -> str:
    """Return a value of a file as it is shown in a message: on one line, as YAML has it, and cut if it is long."""
    if value is None:
        return "nothing"
    text = repr(value) if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _SHOWN_LENGTH else f"{text[: _SHOWN_LENGTH - 3]}..."


def did_you_mean(got: object, names: Iterable[str]) -> str:
    """Return the remedy that names the closest of `names`; empty if none is close, or `got` is one of them."""
    close = get_close_matches(got, list(names), n=1) if isinstance(got, str) else []
    return f"did you mean {close[0]!r}?" if close and close[0] != got else ""
