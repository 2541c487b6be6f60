"""Write a task of your own to start from: one commented Python file that runs as it stands, and a study beside it.

With --study alone, for a task that is there, only the study is written: its ranges are suggested from the task's
optimizer, learning rate and tolerance.
"""

import argparse
import re
from pathlib import Path

from ndecore.errors import InputError
from studies.suggestion import suggested_study, task_file

EXAMPLES = """  nde-study new my_task                     writes my_task.py and my_task.yaml
  nde-study new my_task.py --study          writes my_task.yaml for a task that is there"""
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("name", help="of the task: small letters, digits and _; or, with --study, its file")
    parser.add_argument("--study", action="store_true", help="write the study alone, for the task that is there")


def main(args: argparse.Namespace) -> int:
    """Write the files, none of which may be there."""
    path = Path(args.name if args.name.endswith(".py") else f"{args.name}.py")
    if not _NAME.fullmatch(path.stem):
        raise InputError(f"name: got {path.stem!r}, allowed: small letters, digits and _, a letter first")
    study = path.with_suffix(".yaml")
    there = [each for each in ((study,) if args.study else (path, study)) if each.exists()]
    if there:
        raise InputError(f"name: {there[0]} exists; allowed: another name, or remove it first")
    if not args.study:
        _write(path, task_file(path))
    _write(study, suggested_study(path))
    told = [] if args.study else [f"check:  nde-study check {path}"]
    print("\n".join([*told, f"run:    nde-study run {study}"]))
    return 0


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror}") from error
    print(f"wrote:  {path}")
