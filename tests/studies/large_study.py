"""A study of many made-up trials, in memory and as a ledger."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from ndecore.metrics import METRICS, EpochRecord
from reports.records import Cause, StudyRecord, TrialRecord, TrialStatus
from studies.event_log import sealed
from studies.events import Ended, Entry, Epoch, Placed, Placement, Started, entry_data
from studies.ledger import Ledger, Origin
from studies.spec import load_spec

_EPOCHS = 10


def large_study(n_trials: int) -> StudyRecord:
    """Accuracy falls towards few evaluations, with scatter; one in thirteen is infeasible, one in fifty diverged."""
    rng = np.random.default_rng(0)
    trials = tuple(_trial(number, rng) for number in range(n_trials))
    objectives = tuple(METRICS[name] for name in ("accuracy", "nfe", "train_s"))
    return StudyRecord("large", "digits_node", objectives, 0.01, n_trials, trials)


def large_ledger(root: Path, n_trials: int) -> Path:
    """The same as a study's folder under `root`; written as text, since a thousand durable events take a minute."""
    given = {"name": "large", "trials": n_trials, "max_solver_gap": 0.01}
    folder = root / "large"
    root.mkdir(parents=True, exist_ok=True)
    Ledger.create(folder, load_spec("quickstart", given), Origin())
    entries = (entry for trial in large_study(n_trials).trials for entry in _entries(trial))
    with (folder / "events.jsonl").open("ab") as log:
        for number, entry in enumerate(entries, start=2):
            log.write(sealed(entry_data(entry), number))
    return folder


def _trial(number: int, rng: np.random.Generator) -> TrialRecord:
    nfe = 20.0 + 6.0 * int(rng.integers(0, 20))
    accuracy = 0.985 - 0.11 * float(np.exp(-(nfe - 20.0) / 18.0)) - abs(float(rng.normal(0.0, 0.025)))
    seconds = max(3.0, 0.145 * nfe + float(rng.normal(0.0, 1.2)))
    gap = 0.03 if number % 13 == 5 else 0.001
    epochs = tuple(_epoch(i + 1, accuracy, nfe, seconds, gap if i + 1 == _EPOCHS else None) for i in range(_EPOCHS))
    began = 1.7e9 + 10.0 * number
    config = {
        "regularizer": ("none", "error", "local_error")[number % 3],
        "rtol": float(10.0 ** rng.uniform(-8, -3)),
        "learning_rate": float(10.0 ** rng.uniform(-3, -1)),
        "epochs": _EPOCHS,
    }
    times = tuple(began + i for i in range(_EPOCHS))
    trial = TrialRecord("large", number, config, TrialStatus.COMPLETE, label="" if number else "vanilla", epochs=epochs)
    trial = replace(trial, began_s=began, ended_s=began + _EPOCHS, epoch_times=times, node=f"node-{number % 2}")
    if number % 50 != 7:
        return trial
    return replace(trial, status=TrialStatus.DIVERGED, cause=Cause.NOT_FINITE, reason="loss nan: not finite")


def _epoch(number: int, accuracy: float, nfe: float, seconds: float, gap: float | None) -> EpochRecord:
    share = number / _EPOCHS
    return EpochRecord(
        epoch=number,
        scores={"accuracy": accuracy * (0.5 + 0.5 * share), "loss": 2.5 * (1.0 - accuracy * share)},
        train_loss=0.1 / share,
        penalty=0.02,
        weight=10.0,
        nfe=nfe,
        accepted=(nfe - 2.0) / 6.0,
        rejected=0.0,
        nfe_train=nfe + 6.0,
        accepted_train=(nfe + 4.0) / 6.0,
        rejected_train=0.25,
        train_s=seconds * share,
        predict_s=1e-4 * nfe,
        train_work=1000.0 * nfe * share,
        solver_gap=gap,
        is_last=number == _EPOCHS,
        score_gaps={} if gap is None else {"accuracy": 0.0, "loss": 1e-5},
    )


def _entries(trial: TrialRecord) -> list[Entry]:
    place = Placement(trial.node, trial.node, trial.began_s, 0.01)
    return [
        Entry(trial.began_s, Started(trial.number, 1, 0, trial.label, trial.config)),
        Entry(trial.began_s, Placed(trial.number, place)),
        *(
            Entry(time, Epoch(trial.number, record, worker_s=1.0))
            for record, time in zip(trial.epochs, trial.epoch_times, strict=True)
        ),
        Entry(trial.ended_s, Ended(trial.number, trial.status, trial.reason, trial.cause)),
    ]
