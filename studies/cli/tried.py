"""Somebody's own code is tried before Ray starts: a mistake in it costs seconds, and one line."""

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from ndecore.errors import InputError
from ndecore.findings import Found
from ndecore.tasks import TASKS
from search_spaces.document import load_document
from search_spaces.member_names import files_in, renamed
from search_spaces.shipped import YAML_SUFFIXES
from studies import trying
from studies.code_files import changed, copies, originals_of
from studies.ledger import open_ledger
from studies.spec_search import Fronts


def add_debug(parser: argparse.ArgumentParser) -> None:
    """--debug: the traceback of the user's code."""
    parser.add_argument("--debug", action="store_true", help="print the traceback of what goes wrong in your task")


def try_spec(args: argparse.Namespace, changes: Mapping[str, Any], fronts: Fronts) -> None:
    """Try the task of a spec that names code of somebody's own, unless its study has tried the same code before.

    Raises:
        TaskFails: what has to be changed.
    """
    if not str(args.spec).endswith(YAML_SUFFIXES):
        return  # a shipped study
    data = load_document(args.spec).data
    if not isinstance(data, dict) or not _is_foreign(data) or _is_known(args.root, {**data, **changes}.get("name")):
        return
    _tell(str(data["task"]), trying.try_spec(args.spec, changes, fronts), args.debug)


def try_originals(study: str, root: Path, is_debugging: bool) -> None:
    """Try the user's files as they are now with the config of the first trial that failed.

    Raises:
        InputError: no trial has failed.
        TaskFails: what has to be changed.
    """
    ledger = open_ledger(study, root)
    if not ledger.failed:
        raise InputError(
            f"--retry-failed: got study {study!r}, no trial of which failed; allowed: one with such trials"
        )
    folder = ledger.folder.resolve()
    now = originals_of(folder)
    if now:
        asked = [ledger.spec.task, dict(ledger.trial(ledger.failed[0]).config)]
        task, config = renamed(asked, lambda path: now.get(path, folder / path))
        _tell(task, trying.try_task(task, config), is_debugging)


def _is_foreign(data: Mapping[str, Any]) -> bool:
    task = data.get("task")
    return isinstance(task, str) and ((task in TASKS and task not in TASKS.own) or any(files_in(dict(data))))


def _is_known(root: Path, name: Any) -> bool:
    folder = root / str(name)
    return folder.is_dir() and not changed(folder, copies(folder))


def _tell(task: str, found: Iterator[Found], is_debugging: bool) -> None:
    console = Console()
    try:
        with console.status(f"trying {task}"):
            doubtful = [each for each in found if each.is_doubtful]
    except trying.TaskFails as failure:
        if is_debugging and failure.trace:
            console.print(failure.trace, markup=False)
        raise
    for each in doubtful:
        console.print(f"? {each.what}: {each.told}", markup=False, soft_wrap=True)
