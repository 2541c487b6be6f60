"""Try a task of your own: data, model, gradients, two steps of training, an evaluation, a checkpoint and its reload.

It says in words what is wrong, with the line of your file. A study does the same before its first trial.
"""

import argparse

from studies.cli.terminal import terminal
from studies.trying import PATIENCE_S, TaskFails, try_task

EXAMPLES = """  nde-study check my_task.py
  nde-study check my_task.py:SecondTask --debug
  nde-study check digits_node"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("task", help="a Python file, FILE.py:CLASS, or the name of a task")
    parser.add_argument("--debug", action="store_true", help="print the traceback of what went wrong")
    parser.add_argument("--patience", type=float, default=PATIENCE_S, metavar="S", help="seconds one part may take")


def main(args: argparse.Namespace) -> int:
    """Check, printing each part as it is found."""
    console = terminal()
    n_doubtful = 0
    try:
        for found in try_task(args.task, {}, args.patience):
            n_doubtful += found.is_doubtful
            mark = "[yellow]?[/yellow]" if found.is_doubtful else "[green]✓[/green]"
            console.print(f"{mark} {found.what:11}", end="")
            console.print(found.told, markup=False, soft_wrap=True)
    except TaskFails as failure:
        if args.debug and failure.trace:
            console.print(failure.trace, markup=False)
        raise
    what = f", {n_doubtful} part{'s' * (n_doubtful > 1)} to look at (?)" if n_doubtful else ""
    console.print(f"{args.task} can be studied{what}", markup=False, soft_wrap=True)
    return 0
