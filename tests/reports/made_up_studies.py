"""Synthetic studies: built in memory, no training."""

import numpy as np

from ndecore.metrics import METRICS, EpochRecord, Metric
from reports.records import StudyRecord, TrialRecord, TrialStatus

OBJECTIVES = tuple(METRICS[name] for name in ("accuracy", "nfe", "train_s"))


def epoch(
    accuracy: float, nfe: float, train_s: float, gap: float | None = 0.001, predict_s: float = 0.01
) -> EpochRecord:
    return EpochRecord(
        epoch=20,
        scores={"accuracy": accuracy, "loss": 2.5 * (1.0 - accuracy)},
        train_loss=0.1,
        penalty=0.02,
        weight=10.0,
        nfe=nfe,
        accepted=(nfe - 2) / 6,
        rejected=0.0,
        nfe_train=nfe + 6,
        accepted_train=(nfe + 4) / 6,
        rejected_train=0.25,
        train_s=train_s,
        predict_s=predict_s,
        train_work=1000.0 * nfe,
        solver_gap=gap,
        score_gaps={} if gap is None else {"accuracy": 0.0, "loss": 1e-5},
        is_last=gap is not None,
    )


def trial(number: int, *measured: float | None, label: str = "", **config: object) -> TrialRecord:
    return TrialRecord(
        study="made-up",
        number=number,
        config={"regularizer": "none", "rtol": 1e-6, "lr": 0.01, "solver": "tsit5"} | config,
        status=TrialStatus.COMPLETE,
        label=label,
        epochs=(epoch(*measured),),
    )


def study_of(*trials: TrialRecord, objectives: tuple[Metric, ...] = OBJECTIVES) -> StudyRecord:
    return StudyRecord(
        name="made-up",
        task="digits_node",
        objectives=objectives,
        max_solver_gap=0.01,
        n_trials=len(trials),
        trials=trials,
        versions={"torch": "2.13.0"},
        metrics=tuple(METRICS.values()),
    )


def realistic_trials() -> list[TrialRecord]:
    """24 trials: a baseline, two presets, a trade-off with scatter, two infeasible, two that ended early."""
    rng = np.random.default_rng(4)
    trials = [
        trial(0, 0.9711, 44.0, 7.9, label="vanilla"),
        trial(1, 0.9706, 26.0, 6.1, label="er-code", regularizer="error", weight=100.0, weight_end=10.0),
        trial(2, 0.9489, 38.0, 6.6, label="sr-paper", regularizer="stiffness", weight=0.0285, weight_end=0.0285),
    ]
    for number in range(3, 22):
        regularizer = ("none", "error", "stiffness", "local_error")[number % 4]
        nfe = 26.0 + 6.0 * int(rng.integers(0, 10))
        accuracy = 0.985 - 0.11 * np.exp(-(nfe - 20) / 18) - abs(rng.normal(0, 0.025))
        train_s = max(3.1, 0.145 * nfe + rng.normal(0, 1.2))
        gap = 0.03 if number in (9, 15) else float(rng.uniform(1e-4, 5e-3))
        weight = {} if regularizer == "none" else {"weight": float(10 ** rng.uniform(-2, 2)), "weight_end": 0.1}
        rtol, lr = float(10 ** rng.uniform(-8, -3)), float(10 ** rng.uniform(-3, -1.5))
        record = trial(number, float(accuracy), nfe, train_s, gap, regularizer=regularizer, rtol=rtol, lr=lr, **weight)
        trials.append(record)
    diverged = TrialRecord("made-up", 22, {"lr": 0.5}, TrialStatus.DIVERGED, reason="loss is nan at epoch 2")
    failed = TrialRecord("made-up", 23, {"lr": 0.1}, TrialStatus.FAILED, reason="worker lost")
    return [*trials, diverged, failed]


def realistic() -> StudyRecord:
    return study_of(*realistic_trials())
