"""A study under another name: in MLflow, in what Optuna has, in its log, in its spec, and last its folder.

Each step is done once however often it is asked for: a renaming that was killed is finished by the same command.
"""

import os
import re
import time
from pathlib import Path

from ndecore.errors import InputError
from studies.event_log import EventLog
from studies.events import Entry, Renamed, entry_data
from studies.experiment import Renaming, rename_experiment
from studies.ledger import Ledger, log_path
from studies.proposals import rename_proposals
from studies.reading import SPEC
from studies.spec import NAME_PATTERN, StudySpec, load_spec


def rename_study(name: str, new: str, root: Path) -> Ledger:
    """Rename a study that is not running; return it under its new name.

    Args:
        name: of its folder.
        new: name.
        root: the folder of all studies.

    Raises:
        InputError: there is no such study, or the new name is not allowed, or taken.
        StudyBusy: it is running.
        TrackingError: the tracking store does not answer, or has another experiment of this name; nothing was changed.
        StorageError: its database cannot be used; the same command goes on.
    """
    path = log_path(name, root)
    target = root / new
    if not re.fullmatch(NAME_PATTERN, new):
        raise InputError(f"new name: got {new!r}, allowed: {StudySpec.model_fields['name'].description}")
    if target.exists():
        raise InputError(f"new name: got {new!r}, which {target} has already; allowed: a name that is free")
    with EventLog(path).opened(name) as log:
        ledger = Ledger(path.parent)
        before = load_spec(path.with_name(SPEC), is_stored=True)
        after = before.model_copy(update={"name": new})
        # First: if it is down nothing is changed.
        rename_experiment(ledger.tracking, root.resolve(), Renaming(before.name, new), ledger.study_id)
        rename_proposals(path.parent, before, after, ledger.study_id)
        if ledger.name != new:
            log.append(entry_data(Entry(time.time(), Renamed(new))))
        _write(path.with_name(SPEC), after)
        path.parent.rename(target)
    return Ledger(target)


def _write(path: Path, spec: StudySpec) -> None:
    whole = path.with_name(f".{path.name}")
    whole.write_text(spec.to_yaml(), encoding="utf-8")
    os.replace(whole, path)
