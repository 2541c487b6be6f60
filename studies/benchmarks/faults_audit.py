"""What a study has come through: counted in its ledger, in Optuna and in MLflow, which must agree."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from ndecore.errors import InputError
from reports.load import all_histories
from reports.pareto import front
from reports.records import TrialStatus
from studies.ledger import Ledger

_RUN_STATUS = {TrialStatus.COMPLETE: "FINISHED", TrialStatus.DIVERGED: "FAILED", TrialStatus.FAILED: "FAILED"}


@dataclass(frozen=True)
class Audit:
    """Counts of what should be 0, but the first two."""

    trials: int
    attempts: int
    missing: int  # trials asked for that have not ended
    failed: int  # for which there is no reason in these studies
    rerun: int  # finished trials that were begun again
    intervals_lost: int  # epochs that were told of and trained again, most in one trial
    optuna_open: int  # trials that Optuna holds for running
    runs_running: int  # in MLflow
    runs_missing: int
    runs_doubled: int
    weights_lost: int  # trials that are complete and whose weights are not there, or not those that were written
    points_wrong: int  # runs whose history is not that of the ledger
    undead: int = 0  # processes that outlived a driver by ten seconds

    @property
    def is_clean(self) -> bool:
        """Whether nothing was lost and nothing doubled."""
        return not any(getattr(self, name) for name in self.__dataclass_fields__ if name not in ("trials", "attempts"))


def total(audits: Sequence[Audit]) -> Audit:
    """The counts of several studies."""
    return Audit(**{each.name: sum(getattr(audit, each.name) for audit in audits) for each in fields(Audit)})


def audit(folder: Path, storage: str | None = None) -> Audit:
    """Count; the study must not be running."""
    ledger = Ledger(folder, storage)
    study = ledger.record()
    ended: set[int] = set()
    rerun, attempts, trained = 0, 0, Counter[tuple[int, int]]()
    for line in (folder / "events.jsonl").read_text(encoding="utf-8").splitlines():
        event = json.loads(line)
        if event["event"] == "started":
            attempts += 1
            rerun += event["number"] in ended
        elif event["event"] == "ended":
            ended.add(event["number"])
        elif event["event"] == "epoch":
            trained[event["number"], event["record"]["epoch"]] += 1
    repeated = Counter({number: 0 for number, _ in trained})
    for (number, _), times in trained.items():
        repeated[number] += times - 1
    runs = all_histories(study.tracking_uri, study.experiment_id)
    numbers = Counter(run.number for run in runs)
    expected = {t.number: [epoch.epoch for epoch in t.epochs] for t in study.trials}
    with ledger.writing():
        is_open = [t for t in ledger.proposals.get_trials(deepcopy=False) if not t.state.is_finished()]
    return Audit(
        trials=len(study.trials),
        attempts=attempts,
        missing=study.n_trials - sum(trial.status in _RUN_STATUS for trial in study.trials),
        failed=sum(trial.status is TrialStatus.FAILED for trial in study.trials),
        rerun=rerun,
        intervals_lost=max(repeated.values(), default=0),
        optuna_open=len(is_open),
        runs_running=sum(run.status == "RUNNING" for run in runs),
        runs_missing=len(set(expected) - set(numbers)),
        runs_doubled=sum(times - 1 for times in numbers.values()),
        weights_lost=sum(_has_lost(ledger, t.number) for t in study.trials if t.status is TrialStatus.COMPLETE),
        points_wrong=sum(run.number is not None and run.epochs != expected.get(run.number) for run in runs),
    )


def _has_lost(ledger: Ledger, number: int) -> bool:
    try:
        return not ledger.whole_weights(number).exists()
    except InputError:
        return True


def front_of(folder: Path) -> list[tuple[int, tuple[float, ...] | None]]:
    """The front: each member's number and values."""
    study = Ledger(folder).record()
    return [(trial.number, trial.values(study.objectives)) for trial in front(study)]
