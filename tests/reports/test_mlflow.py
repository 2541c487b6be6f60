"""A study written in the vocabulary of `records` comes back from a real SQLite store; its front is published there."""

import json
import math
from dataclasses import replace

import mlflow
import pytest
from made_up_studies import realistic, study_of, trial

from ndecore.errors import InputError
from reports.config_files import read_yaml
from reports.load import all_histories, load_study
from reports.pareto import front
from reports.publish import publish
from reports.report import study_report
from reports.vocabulary import config_params, metric_names, study_tags, trial_tags

ARTIFACTS = {"report.html", "report.md", "report.json", "front.html", "tables", "configs"}


def write(client, study, tmp_path):
    """What `studies.tracking` does, with its names. Returns the id of the study's run."""
    experiment = client.create_experiment(study.name, artifact_location=(tmp_path / "artifacts").as_uri())
    run_id = client.create_run(experiment, tags=study_tags(study)).info.run_id
    for record in study.trials:
        write_trial(client, experiment, record, study.task)
    return run_id


def write_trial(client, experiment, record, task):
    run_id = client.create_run(experiment, tags=trial_tags(record, task)).info.run_id
    params = [mlflow.entities.Param(*item) for item in config_params(record.config).items()]
    client.log_batch(run_id, params=params)
    for epoch in record.epochs:
        values = metric_names(epoch)
        client.log_batch(run_id, [mlflow.entities.Metric(k, v, 1000, epoch.epoch) for k, v in values.items()])


@pytest.fixture
def client(tmp_path):
    return mlflow.MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}")


def test_a_study_comes_back_from_mlflow_and_its_front_is_published_there(client, tmp_path):
    study = realistic()
    first = study.trials[0]
    history = replace(first.epochs[-1], epoch=10, nfe=50.0, solver_gap=None, score_gaps={})
    grown = replace(study, trials=(replace(first, epochs=(history, *first.epochs)), *study.trials[1:]))
    run_id = write(client, grown, tmp_path)

    loaded = load_study(client, study.name)
    assert replace(loaded, tracking_uri="", experiment_id="") == study
    assert load_study(client.tracking_uri, study.name) == loaded

    for _ in range(2):
        publish(client, run_id, study_report(loaded))
    assert {a.path for a in client.list_artifacts(run_id)} == ARTIFACTS
    folder = tmp_path / "artifacts" / run_id / "artifacts"
    assert {c.trial for c in read_yaml(folder / "configs")} == {member.number for member in front(study)}
    assert json.loads((folder / "report.json").read_text())["knee"] == 1


def test_runs_are_read_page_by_page_to_the_last(client, tmp_path, monkeypatch):
    study = realistic()
    write(client, study, tmp_path)
    whole = load_study(client, study.name)
    monkeypatch.setattr("reports.load._PAGE", 2)
    assert load_study(client, study.name) == whole
    numbers = {run.number for run in all_histories(client.tracking_uri, whole.experiment_id)}
    assert numbers == {None, *(trial.number for trial in study.trials)}


def test_what_the_store_bends_is_put_right(client, tmp_path):
    """A run made twice counts once, infinities stay infinite, and a run without metrics is a trial without epochs."""
    lost = replace(trial(2, 0.9, 26.0, 3.0), epochs=())
    wild = trial(1, 0.9, math.inf, 3.0)
    study = study_of(trial(0, 0.9, 26.0, 3.0), wild, lost)
    write(client, study, tmp_path)
    experiment = client.get_experiment_by_name(study.name).experiment_id
    write_trial(client, experiment, replace(study.trials[0], epochs=()), study.task)
    assert load_study(client, study.name).trials == study.trials


def test_a_study_that_is_not_there_is_refused_with_those_that_are(client, tmp_path):
    write(client, study_of(), tmp_path)
    with pytest.raises(InputError, match=r"got 'quickstart'; at sqlite:.* there are: Default, made-up"):
        load_study(client, "quickstart")
    with pytest.raises(InputError, match=r"experiment 'Default' .* holds no study"):
        load_study(client, "Default")
