"""Go on with a study as its ledger has it: after Ctrl-C or a crash, or with more trials than it was begun with."""

import argparse

from ndecore.errors import InputError
from studies.arguments import whole_number
from studies.cli.place import add_place, added_trials, place_of
from studies.cli.run import watched
from studies.run import More, resume_study

EXAMPLES = """  nde-study resume quickstart
  nde-study resume quickstart --trials +50
  nde-study resume quickstart --rerun 7 --epochs 200      trial 7 again, longer, as a new trial"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("study", help="its name; `nde-study ls` lists them")
    parser.add_argument("--trials", type=added_trials, default=0, metavar="+N", help="add trials")
    parser.add_argument("--rerun", type=whole_number(0), metavar="TRIAL", help="run this trial again, longer")
    parser.add_argument("--epochs", type=whole_number(1), metavar="N", help="of the trial that is run again")
    add_place(parser)


def main(args: argparse.Namespace) -> int:
    """Resume, then print the front and where to go from here."""
    if (args.rerun is None) != (args.epochs is None):
        got, lacking = ("--epochs", "--rerun TRIAL") if args.rerun is None else ("--rerun", "--epochs N")
        raise InputError(f"{got}: got no {lacking}, allowed: both or none; add {lacking}")
    if args.rerun is not None and args.trials:
        raise InputError("--rerun and --trials: got both, allowed: one at a time")
    changes = {"epochs": args.epochs} if args.epochs else {}
    more = More(args.trials, args.rerun, changes)
    return watched(args.root, lambda progress: resume_study(args.study, place_of(args, None), progress, more))
