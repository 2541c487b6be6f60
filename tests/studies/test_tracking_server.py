"""The same study against a real MLflow server."""

import json

import mlflow
import pytest
from command_line import SMALL, mlflow_server, nde_study

from reports.vocabulary import Tag
from studies.ledger import Ledger

pytestmark = [pytest.mark.slow, pytest.mark.cluster]


def test_a_study_tracked_over_http_is_there_whole(tmp_path, port):
    (tmp_path / "small.yaml").write_text(SMALL)
    (tmp_path / "server").mkdir()
    with mlflow_server(tmp_path / "server", port) as uri:
        ended = nde_study("run", "small.yaml", "--tracking-uri", uri, cwd=tmp_path)
        assert (ended.code, ended.err) == (0, "")
        assert "View run" not in ended.out
        client = mlflow.MlflowClient(tracking_uri=uri)
        experiment = client.get_experiment_by_name("small")
        assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"
        runs = client.search_runs([experiment.experiment_id])
        study = Ledger(tmp_path / "nde-runs" / "small").record()
        numbers = {int(run.data.tags[Tag.TRIAL]): run for run in runs if Tag.TRIAL in run.data.tags}
        assert sorted(numbers) == [trial.number for trial in study.trials]
        assert sorted(run.info.status for run in runs) == ["FAILED"] + ["FINISHED"] * 6
        for number, run in numbers.items():
            history = client.get_metric_history(run.info.run_id, "accuracy")
            expected = [(epoch.epoch, epoch.scores["accuracy"]) for epoch in study.trials[number].epochs]
            assert [(metric.step, metric.value) for metric in history] == expected
        (run,) = (run for run in runs if Tag.TRIAL not in run.data.tags)
        artifacts = {artifact.path for artifact in client.list_artifacts(run.info.run_id)}
        assert artifacts == {"report.html", "report.md", "report.json", "front.html", "tables", "configs"}
        ours = nde_study("show", "small", "--json", cwd=tmp_path)
        theirs = nde_study("show", "small", "--json", "--root", "none", "--tracking-uri", uri, cwd=tmp_path)
        assert json.loads(theirs.out) == json.loads(ours.out)
        assert nde_study("ui", "small", "--no-browser", cwd=tmp_path).out.startswith(f"{uri}/#/experiments/")
    assert {path.name for path in (tmp_path / "nde-runs").iterdir()} == {"small"}
