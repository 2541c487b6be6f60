"""A study's results into its own MLflow run, where the next reader looks first."""

import tempfile
from pathlib import Path

from mlflow import MlflowClient

from reports.config_files import config_file_name, write_yaml
from reports.confirmed import published_study
from reports.export import choose
from reports.pareto import front
from reports.report import StudyReport
from reports.report_files import write_report


def publish(client: MlflowClient, run_id: str, report: StudyReport) -> None:
    """Log the report and the configs of the front into the study's run; publishing again replaces the artifacts.

    Artifacts: what `write_report` writes, and configs/trial-0007.yaml for each member of the front.

    Args:
        client: of the store that holds the run.
        run_id: of the study's run.
        report: the front may be empty; then there are no configs.
    """
    with tempfile.TemporaryDirectory() as folder:
        write_report(Path(folder), report)
        for config in choose(report.study, all=True) if front(published_study(report.study)) else ():
            write_yaml(Path(folder) / "configs" / config_file_name(config), (config,))
        client.log_artifacts(run_id, folder)
