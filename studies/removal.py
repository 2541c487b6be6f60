"""A study taken away, from MLflow and a database first: what is left of it after a failure can be removed again."""

import shutil
from pathlib import Path

from studies.addresses import SQLITE
from studies.event_log import EventLog, LedgerDamaged
from studies.experiment import drop_experiment
from studies.ledger import Ledger, log_path
from studies.proposals import drop_proposals


def remove_study(name: str, root: Path, *, keep_runs: bool = False) -> tuple[str, ...]:
    """Remove a study; what was done, a line each.

    Args:
        name: of the study.
        root: the folder of all studies.
        keep_runs: whether its runs stay in MLflow.

    Raises:
        InputError: there is no such study.
        StudyBusy: it is running.
        TrackingError: its tracking store does not answer; nothing was removed.
    """
    path, told = log_path(name, root), []
    with EventLog(path).opened(name):
        try:
            ledger = Ledger(path.parent)
        except LedgerDamaged as error:
            told.append(f"left what MLflow has: {error}")
        else:
            if not keep_runs:
                drop_experiment(ledger.tracking, ledger.name, ledger.study_id)
                told.append(f"removed the runs at {ledger.tracking.uri}")
                if ledger.tracking.uri.startswith(SQLITE):
                    shutil.rmtree(root.resolve() / "artifacts" / name, ignore_errors=True)
            if (path.parent / "spec.yaml").exists() and ledger.spec.storage:
                drop_proposals(ledger.spec, ledger.study_id, ledger.spec.storage)
        gone = path.parent.with_name(f".{name}.removed")
        shutil.rmtree(gone, ignore_errors=True)
        path.parent.rename(gone)
        shutil.rmtree(gone)
    return (*told, f"removed {path.parent}")
