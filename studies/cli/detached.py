"""A study in a process of its own: begun by a command that returns once the first trial is with a worker.

The process is the same command again, in a session of its own, which neither Ctrl-C nor the end of the terminal
reaches. What it says before the first trial is for the person, and after that for a file below the study's folder.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from rich.console import Console

from reports.records import StudyRecord
from studies.cli.options import root_option

OUTPUT = "driver.log"  # below the study's folder
_TELLS = "_NDE_STUDY_TELLS"  # a variable: the descriptor on which the process says that its study has begun


def add_detach(parser: argparse.ArgumentParser) -> None:
    """--detach: run in a process of its own."""
    parser.add_argument(
        "--detach", action="store_true", help="return when the first trial has begun; the study goes on by itself"
    )


def is_to_detach(args: argparse.Namespace) -> bool:
    """Whether a process of its own was asked for, and this is not that process."""
    return bool(args.detach) and _TELLS not in os.environ


def detach(command: str, args: argparse.Namespace) -> int:
    """Start a command again in a process of its own, and wait until its study has begun.

    Where it ends before that, say what it said, and return its exit code.
    """
    reads, writes = os.pipe()
    with tempfile.TemporaryFile() as said, os.fdopen(reads, "rb") as begun:
        driver = subprocess.Popen(
            [sys.executable, "-P", "-m", "studies.cli", command, *args.words],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            env=os.environ | {_TELLS: str(writes)},
            pass_fds=(writes,),
            start_new_session=True,
        )
        os.close(writes)
        try:
            with Console().status("starting the study"):
                name = begun.read().decode()
        except KeyboardInterrupt:  # nothing has been promised yet
            name = ""
            driver.send_signal(signal.SIGINT)
        code = 0 if name else driver.wait()
        said.seek(0)
        print(said.read().decode(errors="replace"), end="", file=sys.stderr if code else sys.stdout)
    if name:
        _tell(name, driver.pid, args.root)
    return code


def _tell(name: str, pid: int, root: Path) -> None:
    where = f"{name}{root_option(root)}"
    print(f"study {name} runs in process {pid}; what it says: {root / name / OUTPUT}")
    print(f"follow: nde-study attach {where}")
    print(f"stop:   nde-study stop {where}")
    print(f"show:   nde-study show {where}")


def news_of(args: argparse.Namespace, on_change: Callable[[StudyRecord], None]) -> Callable[[StudyRecord], None]:
    """What a driver is to call after each change: of a detached one the first change ends the wait of who began it."""
    tells = os.environ.pop(_TELLS, "")  # a worker has no use for it
    if not tells:
        return on_change
    os.set_inheritable(int(tells), False)  # else the one who waits would wait for Ray, too
    is_told = False

    def tell(study: StudyRecord) -> None:
        nonlocal is_told
        if not is_told:
            is_told = True
            _move_output(args.root / study.name / OUTPUT)
            with suppress(BrokenPipeError):  # who waited was killed; the study goes on
                os.write(int(tells), study.name.encode())
            os.close(int(tells))
        on_change(study)

    return tell


def _move_output(path: Path) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.write(file, f"{time.strftime('%Y-%m-%d %H:%M:%S')}, process {os.getpid()}\n".encode())
    for output in (1, 2):
        os.dup2(file, output)
    os.close(file)
