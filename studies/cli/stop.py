"""End a study that is running, detached or not, as Ctrl-C does, and wait until it has ended.

What is finished is kept, and what was running goes on from its last checkpoint when the study is resumed.
"""

import argparse
import os
import signal
import time
from contextlib import suppress

from rich.console import Console

from ndecore.errors import InputError, NDEError
from studies.cli.attach import so_far
from studies.cli.options import add_root, root_option
from studies.ledger import Ledger, log_path, open_ledger
from studies.locks import has_ended, holder_of

EXAMPLES = """  nde-study stop quickstart
  nde-study stop quickstart && nde-study resume quickstart --workers 8 --detach"""

_PAUSE_S = 0.1
_PATIENCE_S = 300.0  # MLflow may be slow to take the last of it


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("study", help="its name; `nde-study ls` lists them")
    add_root(parser)


def main(args: argparse.Namespace) -> int:
    """Stop."""
    ledger, where = open_ledger(args.study, args.root), f"{args.study}{root_option(args.root)}"
    if not ledger.is_running:
        raise InputError(f"study {args.study!r} is not running: {ledger.state}, {so_far(ledger)}; nothing to stop")
    pid = holder_of(log_path(args.study, args.root), args.study)
    with suppress(ProcessLookupError):  # it has just ended
        os.kill(pid, signal.SIGINT)
    with Console().status(f"waiting for process {pid} to end"):
        _wait(pid, args.study)
    print(_told(open_ledger(args.study, args.root), where))
    return 0


def _wait(pid: int, study: str) -> None:
    end = time.monotonic() + _PATIENCE_S
    while not has_ended(pid):
        if time.monotonic() > end:
            raise NDEError(
                f"study {study!r}: process {pid} was asked to end {_PATIENCE_S:g} s ago and is there still; wait, or "
                f"`kill -9 {pid}`: what is finished stays"
            )
        time.sleep(_PAUSE_S)


def _told(ledger: Ledger, where: str) -> str:
    if ledger.state != "interrupted":
        return f"study {ledger.name} came to its end: {ledger.state}, {so_far(ledger)}; nde-study show {where}"
    kept = f"{so_far(ledger)} and are kept"
    n_open = len(ledger.unfinished())
    if n_open:
        kept += f", {n_open} will go on from their last checkpoints"
    return f"study {ledger.name} stopped: {kept}; to go on: nde-study resume {where}"
