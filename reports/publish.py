"""A study's results into its own MLflow run, where the next reader looks first."""

from collections import Counter

from mlflow import MlflowClient
from mlflow.entities import Metric as LoggedMetric

from reports.config_files import config_file_name, to_yaml
from reports.export import choose
from reports.figures import figure_html, front_figure
from reports.pareto import front, study_hypervolume
from reports.records import StudyRecord, TrialStatus
from reports.tables import front_markdown, study_summary

_FAILED = (TrialStatus.DIVERGED, TrialStatus.FAILED)


def publish_front(client: MlflowClient, run_id: str, study: StudyRecord) -> None:
    """Log the study's front into its existing run; publishing again replaces the artifacts.

    Artifacts: front.html, front.md, front.json, and configs/trial-0007.yaml for each member. Metrics:
    front_size, hypervolume (share of the study's box), trials_complete, trials_failed (diverged ones
    included).

    Args:
        client: of the store that holds the run.
        run_id: of the study's run.
        study: a front may be empty; then there are no configs.
    """
    client.log_text(run_id, figure_html(front_figure(study)), "front.html")
    client.log_text(run_id, front_markdown(study), "front.md")
    client.log_dict(run_id, study_summary(study), "front.json")
    for config in choose(study, all=True) if front(study) else ():
        name = config_file_name(config)
        client.log_text(run_id, to_yaml((config,), name), f"configs/{name}")
    client.log_batch(run_id, metrics=_metrics(client, run_id, study), synchronous=True)


def _metrics(client: MlflowClient, run_id: str, study: StudyRecord) -> list[LoggedMetric]:
    """The step is the number of trials that ended, the time that of the run's start.

    Not the clock's: MLflow would count the same value published twice as two.
    """
    ends = Counter(trial.status for trial in study.trials)
    values = {
        "front_size": len(front(study)),
        "hypervolume": study_hypervolume(study),
        "trials_complete": ends[TrialStatus.COMPLETE],
        "trials_failed": sum(ends[status] for status in _FAILED),
    }
    step = len(study.trials) - ends[TrialStatus.RUNNING]
    time = client.get_run(run_id).info.start_time
    return [LoggedMetric(name, value, time, step) for name, value in values.items()]
