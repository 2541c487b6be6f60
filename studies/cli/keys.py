"""List the keys of a config for a task: what a space may search, `fixed` may set, and what each may be.

First the task's own; then what is chosen from a family; then the keys of training, of solving, and of single members.
"""

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ndecore.errors import InputError
from ndecore.keys import keys_of
from ndecore.member_files import file_member
from ndecore.tasks import TASKS
from search_spaces.parameters import FAMILIES, HYPERPARAMETERS, SETTINGS, Choices, Parameter, Vocabulary
from studies.cli.options import print_json

EXAMPLES = """  nde-study keys digits_node
  nde-study keys my_task.py
  nde-study keys digits_node --json | jq '.[] | select(.key == "rtol")'"""


@dataclass(frozen=True)
class Row:
    """A key of a config.

    Args:
        of: who takes it.
        key: its name.
        allowed: values, in words.
        default: what it is where a config is silent; None where that is the member's or the task's to say.
        doc: what it means.
    """

    of: str
    key: str
    allowed: str
    default: bool | int | float | str | None
    doc: str


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("task", help="a Python file, FILE.py:CLASS, or the name of a task")
    parser.add_argument("--json", action="store_true", help="print JSON")


def main(args: argparse.Namespace) -> int:
    """List them."""
    member = file_member(args.task)
    if args.task not in TASKS:
        raise InputError(f"task: got {args.task!r}, allowed: {TASKS.allowed}")
    task = str(member._replace(path=Path(member.path).resolve())) if member else args.task
    rows = list(_rows(task))
    if args.json:
        print_json(rows)
        return 0
    console = Console()
    for of, group in groupby(rows, lambda row: row.of):
        table = Table(box=None, show_header=False, title=escape(of), title_justify="left", title_style="bold")
        for row in group:
            default = "" if row.default is None else str(row.default)
            table.add_row(*map(escape, (row.key, default, f"{row.doc} Allowed: {row.allowed}")))
        console.print(table)
    print(
        "A key of one regularizer of a sum is written as error.weight, an argument of an optimizer as optimizer.NAME."
    )
    return 0


def _rows(task: str) -> Iterator[Row]:
    vocabulary = Vocabulary().knowing({"task": task})
    owners = {"task": TASKS.keys_of(task), "choice": keys_of(Choices)}
    owners |= {"training": keys_of(HYPERPARAMETERS), "solving": keys_of(SETTINGS)}
    made: Any = TASKS[task]
    defaults: Mapping[str, Mapping[str, Any]] = {
        "training": vars(made.defaults),
        "solving": dict.fromkeys(("rtol", "atol"), TASKS.facts(task).tolerance),
    }
    seen: set[str] = set()
    for of, keys in owners.items():
        for name, key in keys.items():
            default = defaults.get(of, {}).get(name, key.default)
            yield Row(of, name, key.allowed, default, key.doc)
            seen.add(name)
    for family, registry in FAMILIES.items():
        names = [name for name in registry.own if family != "task"]
        for key_name in dict.fromkeys(key for name in names for key in registry.keys_of(name)):
            if key_name not in seen:
                parameter: Parameter = vocabulary.parameters[key_name]
                takers = ", ".join(name for name in names if key_name in registry.keys_of(name))
                yield Row(takers, key_name, parameter.allowed, None, parameter.doc)
                seen.add(key_name)
