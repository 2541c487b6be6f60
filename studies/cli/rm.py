"""Remove a study: its folder, its runs and files in MLflow, its proposals in a database. There is no way back.

Its name is free again, in MLflow too.
"""

import argparse

from ndecore.errors import InputError
from studies.cli.options import add_root
from studies.removal import remove_study

EXAMPLES = """  nde-study rm quickstart --yes
  nde-study rm quickstart --yes --keep-runs                its runs stay in MLflow, under its name"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("study", help="its name; `nde-study ls` lists them")
    parser.add_argument("--yes", action="store_true", help="do it")
    parser.add_argument("--keep-runs", action="store_true", help="leave MLflow as it is")
    add_root(parser)


def main(args: argparse.Namespace) -> int:
    """Remove."""
    if not args.yes:
        raise InputError(f"--yes: got none; `nde-study rm {args.study} --yes` removes what cannot be brought back")
    for line in remove_study(args.study, args.root, keep_runs=args.keep_runs):
        print(line)
    return 0
