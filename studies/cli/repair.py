"""Tell what of a damaged log can be kept, and with --write keep it: the old file stays beside.

Whole lines are kept, each once, as far as one can follow the other. A trial whose end is lost is ended again, or
trained on; one whose beginning is lost is run anew under its number. Optuna's part is made from the log when the study
goes on.
"""

import argparse

from studies.cli.options import add_root
from studies.ledger import log_path
from studies.repair import examine, repair

EXAMPLES = """  nde-study repair quickstart
  nde-study repair quickstart --write && nde-study resume quickstart"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("study", help="its name; `nde-study ls` lists them")
    parser.add_argument("--write", action="store_true", help="do it; without, only tell")
    add_root(parser)


def main(args: argparse.Namespace) -> int:
    """Examine, tell, and write if asked to."""
    found = examine(log_path(args.study, args.root))
    for each in found.given_up:
        print(f"line {each.line}: {each.why}")
    print(f"{found.path}: {found}; {found.n_ended} trials ended")
    if found.is_whole:
        print("nothing to repair")
    elif args.write:
        print(f"repaired; the old file is {repair(found, args.study)}")
    else:
        print(f"to do it: nde-study repair {args.study} --write")
    return 0
