"""How the commands print: tables that fit the width, colours on a terminal alone, and none where NO_COLOR is set."""

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table


def terminal() -> Console:
    """The console of a command: rich looks at the width, at whether it is a terminal, and at NO_COLOR."""
    return Console(highlight=False)


def table_of(heads: Iterable[str], right: Sequence[str] = ()) -> Table:
    """An empty table without lines; the heads named in `right` are of numbers.

    Where the terminal is too narrow, text is folded and numbers stay whole.
    """
    table = Table(box=None, header_style="bold", pad_edge=False)
    for head in heads:
        is_number = head in right
        table.add_column(
            head,
            justify="right" if is_number else "left",
            no_wrap=is_number,
            overflow="ellipsis" if is_number else "fold",
        )
    return table
