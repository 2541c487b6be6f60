"""A study read back from MLflow, for where its ledger is not at hand."""

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace

from mlflow import MlflowClient
from mlflow.entities import Experiment, Run
from mlflow.exceptions import MlflowException

from ndecore.errors import InputError
from ndecore.metrics import Metric
from reports.records import StudyRecord, TrialRecord
from reports.vocabulary import Kind, Tag, study_from_tags, trial_from_run

_PAGE = 1000  # runs per request


def load_study(tracking: MlflowClient | str, name: str) -> StudyRecord:
    """The study with its trials, each with its last epoch alone.

    A front needs no more than last values, and those come with the runs, a page of them per request; whole
    histories would cost a request per metric and run. Infinities come back as infinities, though SQL stores
    hold the largest float.

    Args:
        tracking: a client, or the URI of the tracking store or server.
        name: of the study, which is that of its experiment.

    Raises:
        InputError: the store has no such study, or it cannot be asked.
    """
    client = MlflowClient(tracking_uri=tracking) if isinstance(tracking, str) else tracking
    try:
        experiment = _experiment(client, name)
        study_runs, trial_runs = (
            _runs(client, experiment.experiment_id, f"tags.`{Tag.KIND}` = '{kind}'")
            for kind in (Kind.STUDY, Kind.TRIAL)
        )
    except MlflowException as error:
        raise InputError(f"{client.tracking_uri}: cannot be asked for studies: {error}.") from error
    if not study_runs:
        raise InputError(f"experiment {name!r} at {client.tracking_uri} holds no study: no run is tagged as one.")
    study = study_from_tags(study_runs[-1].data.tags)
    trials = _trials(trial_runs, study.metrics)
    return replace(study, trials=trials, tracking_uri=client.tracking_uri, experiment_id=experiment.experiment_id)


def _experiment(client: MlflowClient, name: str) -> Experiment:
    experiment = client.get_experiment_by_name(name)
    if experiment is None or experiment.lifecycle_stage != "active":
        found = ", ".join(sorted(e.name for e in client.search_experiments())) or "none"
        raise InputError(f"study: got {name!r}; at {client.tracking_uri} there are: {found}.")
    return experiment


def _runs(client: MlflowClient, experiment_id: str, filter_string: str = "") -> list[Run]:
    """All runs, or some, the oldest first."""
    runs: list[Run] = []
    token: str | None = None
    while True:
        page = client.search_runs(
            [experiment_id],
            filter_string=filter_string,
            max_results=_PAGE,
            order_by=["attributes.start_time ASC"],
            page_token=token,
        )
        runs.extend(page)
        token = page.token
        if not token:
            return runs


def _trials(runs: list[Run], known: tuple[Metric, ...]) -> tuple[TrialRecord, ...]:
    """One trial per number: a writer that crashed may have made a run twice, and the one that got further counts."""
    further: dict[int, TrialRecord] = {}
    for run in runs:
        trial = trial_from_run(run.data.tags, _restored(run.data.metrics), known)
        before = further.get(trial.number)
        if before is None or _epoch(trial) >= _epoch(before):
            further[trial.number] = trial
    return tuple(further[number] for number in sorted(further))


def _restored(metrics: Mapping[str, float]) -> dict[str, float]:
    """The values as they were logged: MLflow's SQL stores keep an infinity as the largest float."""
    largest = sys.float_info.max
    return {n: math.copysign(math.inf, v) if abs(v) >= largest else v for n, v in metrics.items()}


def _epoch(trial: TrialRecord) -> int:
    return trial.epochs[-1].epoch if trial.epochs else 0


@dataclass(frozen=True)
class LoggedRun:
    """A run of a study as MLflow has it."""

    number: int | None  # of the trial; None for the study's own
    status: str
    epochs: list[int]  # as they were logged, in the order of their steps; one that was logged twice stands twice


def all_histories(uri: str, experiment_id: str) -> list[LoggedRun]:
    """Every run of an experiment that is not deleted, with its whole history of epochs: a request for each."""
    client = MlflowClient(tracking_uri=uri)
    found = []
    for run in _runs(client, experiment_id):
        number = run.data.tags.get(Tag.TRIAL)
        steps = [metric.step for metric in client.get_metric_history(run.info.run_id, "epoch")]
        found.append(LoggedRun(None if number is None else int(number), run.info.status, sorted(steps)))
    return found
