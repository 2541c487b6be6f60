"""Follow a study that is running, as `run` shows it. Ctrl-C ends the view; the study goes on.

It reads the study's log alone, so any number of people may look on, from any machine that sees the folder. It ends with
the study and has its exit code: 0, or 1 where the study failed, was interrupted or has no front.
"""

import argparse
import time

from rich.console import Console

from ndecore.errors import NDEError
from reports.records import TrialStatus
from studies.cli import FAILURE, INTERRUPTED
from studies.cli.options import add_root, root_option
from studies.cli.progress import StudyProgress
from studies.cli.run import conclude
from studies.ledger import Ledger, open_ledger

EXAMPLES = """  nde-study attach quickstart
  nde-study attach quickstart --root /shared/nde-runs"""

_PAUSE_S = 0.5  # between two looks


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("study", help="its name; `nde-study ls` lists them")
    add_root(parser)


def main(args: argparse.Namespace) -> int:
    """Follow; of a study that does not run tell what it is."""
    ledger, console = open_ledger(args.study, args.root), Console()
    where = f"{args.study}{root_option(args.root)}"
    if not ledger.is_running:
        return _tell_state(ledger, where)
    try:
        _follow(ledger, console)
    except KeyboardInterrupt:
        print(f"{ledger.name} goes on; to follow it again: nde-study attach {where}; to end it: nde-study stop {where}")
        return INTERRUPTED
    if ledger.failure:
        raise NDEError(ledger.failure)
    if ledger.state == "interrupted":
        return _tell_state(ledger, where)
    return conclude(ledger.record(), args.root, console)


def _follow(ledger: Ledger, console: Console) -> None:
    """Show the study until the process that writes it has ended."""
    with StudyProgress(console) as progress:
        progress(ledger.record())
        is_running = True
        while is_running:
            is_running = ledger.is_running  # asked first: what its last events are is read after
            if ledger.catch_up():
                progress(ledger.record())
            if is_running:
                time.sleep(_PAUSE_S)


def _tell_state(ledger: Ledger, where: str) -> int:
    """In a line: how far a study came that does not run, and what to do; the exit code is that of one followed."""
    if ledger.failure:
        raise NDEError(ledger.failure)
    state = f"study {ledger.name} is not running: {ledger.state}, {so_far(ledger)}"
    if ledger.state == "interrupted":
        print(f"{state}; to go on: nde-study resume {where}")
        return FAILURE
    print(f"{state}; to see its front: nde-study show {where}")
    return 0


def so_far(ledger: Ledger) -> str:
    """How many trials have ended, in words."""
    trials = ledger.record().trials
    n_ended = sum(trial.status not in (TrialStatus.RUNNING, TrialStatus.INTERRUPTED) for trial in trials)
    return f"{n_ended} of {ledger.n_trials} trials ended"
