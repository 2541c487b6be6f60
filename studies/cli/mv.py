"""Rename a study: its folder, its name in the log and the spec, its experiment in MLflow.

Its trials, weights and proposals stay as they are. Files that were exported before keep the name that they bear.
"""

import argparse
from importlib import import_module

from studies.cli.options import add_root, root_option
from studies.renaming import rename_study

EXAMPLES = """  nde-study mv quickstart first_try
  nde-study mv quickstart first_try --root /shared/nde-runs"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("study", help="its name; `nde-study ls` lists them")
    parser.add_argument("new", help="its new name, which no study has")
    add_root(parser)


def main(args: argparse.Namespace) -> int:
    """Rename, then bring the report in MLflow up to date, which bears the name too."""
    ledger = rename_study(args.study, args.new, args.root)
    print(f"{args.study} is {ledger.name} now: {ledger.folder}")
    if ledger.tracking.experiment_id:
        # Ray and torch, which come with it, are not for who asks for --help, or for a name that is taken.
        import_module("studies.run").sync_study(ledger.name, args.root, None)
    print(f"show:   nde-study show {ledger.name}{root_option(args.root)}")
    return 0
