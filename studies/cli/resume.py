"""Go on with a study as its ledger has it: after Ctrl-C or a crash, or with more trials than it was begun with."""

import argparse

from ndecore.errors import InputError
from studies.arguments import whole_number
from studies.asked import More
from studies.cli.detached import add_detach, detach, is_to_detach
from studies.cli.place import add_place, added_trials, place_of
from studies.cli.run import watched
from studies.cli.tried import add_debug, try_originals

EXAMPLES = """  nde-study resume quickstart
  nde-study resume quickstart --trials +50
  nde-study resume quickstart --detach                    in a process of its own; see `attach` and `stop`
  nde-study resume quickstart --rerun 7 --epochs 200      trial 7 again, longer, as a new trial
  nde-study resume quickstart --rerun 7@5                 five epochs of it, to be confirmed, say
  nde-study resume quickstart --take-up all               train what a rule stopped to its end
  nde-study resume my_study --retry-failed                after a fix in my_task.py"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("study", help="its name; `nde-study ls` lists them")
    parser.add_argument("--trials", type=added_trials, default=0, metavar="+N", help="add trials")
    parser.add_argument(
        "--rerun",
        type=_rerun,
        metavar="TRIAL",
        help="run this trial again, longer; or as 7@5 for five epochs of the same schedules",
    )
    parser.add_argument("--epochs", type=whole_number(1), metavar="N", help="of the trial that is run again")
    parser.add_argument(
        "--retry-failed",
        action="store_true",
        help="run the trials that failed again, each as a new one, with your files as they are now",
    )
    parser.add_argument(
        "--take-up",
        type=_trials,
        default=(),
        metavar="TRIALS",
        help="train these trials, which a rule stopped early, to their end: numbers such as 3,7, or all",
    )
    add_debug(parser)
    add_detach(parser)
    add_place(parser)


def _rerun(text: str) -> tuple[int, int | None]:
    """The number of a trial, and after which epoch it ends."""
    number, at, epoch = text.partition("@")
    return whole_number(0)(number), whole_number(1)(epoch) if at else None


def _trials(text: str) -> tuple[int, ...] | None:
    """The numbers; None for all."""
    if text == "all":
        return None
    if not all(part.isdecimal() for part in text.split(",")):
        raise argparse.ArgumentTypeError(f"got {text!r}, allowed: numbers of trials such as 3,7, or all")
    return tuple(dict.fromkeys(map(int, text.split(","))))


def main(args: argparse.Namespace) -> int:
    """Resume, then print the front and where to go from here."""
    number, stop_after = args.rerun or (None, None)
    if (args.rerun is None) != (args.epochs is None) and stop_after is None:
        got, lacking = ("--epochs", "--rerun TRIAL") if args.rerun is None else ("--rerun", "--epochs N")
        raise InputError(f"{got}: got no {lacking}, allowed: both or none; add {lacking}")
    if args.rerun is not None and args.trials:
        raise InputError("--rerun and --trials: got both, allowed: one at a time")
    if args.retry_failed and (args.trials or args.rerun is not None):
        raise InputError("--retry-failed: got --trials or --rerun too, allowed: one at a time")
    if args.take_up != () and (args.trials or args.rerun is not None or args.retry_failed):
        raise InputError("--take-up: got --trials, --rerun or --retry-failed too, allowed: one at a time")
    if is_to_detach(args):
        return detach("resume", args)
    if args.retry_failed:
        try_originals(args.study, args.root, args.debug)
    asked = {"epochs": args.epochs, "stop_after": stop_after}
    changes = {name: value for name, value in asked.items() if value is not None}
    more = More(args.trials, number, changes, args.retry_failed, args.take_up)
    where = place_of(args, None)
    return watched(args, lambda driver, on_change: driver.resume_study(args.study, where, on_change, more))
