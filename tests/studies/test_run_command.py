"""`nde-study run` where there is nothing to run, or where it is refused: one line, and nothing created or changed."""

import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import mlflow
import pytest
import ray
from command_line import SMALL, nde_study

from reports.vocabulary import Tag
from studies.cli import main
from studies.ledger import Ledger

pytestmark = pytest.mark.cluster

DEAD = "http://127.0.0.1:9"


@pytest.fixture
def spec(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    return path


def content(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != "lock"}


def test_a_finished_study_says_so_and_shows_its_front_without_starting_ray(at_home, capsys):
    before = content(at_home.root)
    began = time.monotonic()
    assert main(["run", "small.yaml"]) == 0
    assert time.monotonic() - began < 10
    assert not ray.is_initialized()
    out = capsys.readouterr().out
    assert out.startswith("study small is complete already\nsmall (digits_node): 6 of 6 trials")
    assert "browse:  nde-study ui small" in out
    assert content(at_home.root) == before


@pytest.fixture
def untracked(at_home, tmp_path, monkeypatch):
    """A copy of the small study, as after kill -9 between its last trial and its last word to MLflow."""
    shutil.copytree(at_home.root, tmp_path / "nde-runs")
    shutil.copy(at_home.home / "small.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "nde-runs" / "small"
    text = (folder / "events.jsonl").read_text().replace(str(at_home.root), str(tmp_path / "nde-runs"))
    kept = [line for line in text.splitlines(keepends=True) if '"tracked"' not in line]
    (folder / "events.jsonl").write_text("".join(kept))
    # MLflow keeps whole paths: what the copy publishes must not land in the original.
    with closing(sqlite3.connect(tmp_path / "nde-runs" / "mlflow.db")) as store, store:
        moved = (str(at_home.root), str(tmp_path / "nde-runs"))
        store.execute("update experiments set artifact_location = replace(artifact_location, ?, ?)", moved)
        store.execute("update runs set artifact_uri = replace(artifact_uri, ?, ?)", moved)
    return folder


def test_a_finished_study_that_mlflow_has_lost_a_part_of_is_sent_again(untracked, capsys):
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{untracked.parent}/mlflow.db")
    experiment = client.get_experiment_by_name("small").experiment_id
    ids = {run.data.tags.get(Tag.TRIAL): run.info.run_id for run in client.search_runs([experiment])}
    client.delete_run(ids["4"])
    client.update_run(ids["5"], status="RUNNING")
    assert main(["run", "small.yaml"]) == 0
    runs = client.search_runs([experiment])
    numbers = sorted(run.data.tags[Tag.TRIAL] for run in runs if Tag.TRIAL in run.data.tags)
    assert numbers == ["0", "1", "2", "3", "4", "5"]
    assert "RUNNING" not in {run.info.status for run in runs}
    (again,) = (run for run in runs if run.data.tags.get(Tag.TRIAL) == "5")
    history = client.get_metric_history(again.info.run_id, "accuracy")
    assert [metric.step for metric in history] == [1, 2, 3, 4]


def test_the_same_name_with_another_spec_is_refused(at_home, capsys):
    before = content(at_home.root)
    assert main(["run", "small.yaml", "--trials", "7"]) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"nde-study: study 'small' exists under {at_home.root} with another spec: trials")
    assert "`nde-study resume small --trials +" in told
    assert told.endswith("give this one another name with --name\n")
    assert told.count("\n") == 1
    assert content(at_home.root) == before


def test_a_study_that_is_not_there_cannot_be_extended_or_resumed(spec, tmp_path, capsys):
    assert main(["run", "small.yaml", "--trials", "+2"]) == 2
    assert "--trials: got +2, and no study 'small'" in capsys.readouterr().err
    assert main(["resume", "small"]) == 2
    assert "no study 'small'" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["small.yaml"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--rerun", "1"], "--rerun: got no --epochs N, allowed: both or none"),
        (["--epochs", "9"], "--epochs: got no --rerun TRIAL, allowed: both or none"),
        (["--rerun", "1", "--epochs", "9", "--trials", "+1"], "--rerun and --trials: got both"),
        (["--rerun", "77", "--epochs", "9"], "--rerun: got 77, allowed: the number of a trial"),
    ],
)
def test_what_cannot_be_added_to_a_study_is_refused_in_one_line(options, said, at_home, capsys):
    before = content(at_home.root)
    assert main(["resume", "small", *options]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1
    assert content(at_home.root) == before


@pytest.mark.slow
def test_a_finished_study_is_extended_and_a_trial_of_it_run_longer(untracked, tmp_path):
    """Other trials stay as they are; the new ones are in MLflow too."""
    before = Ledger(untracked).record()
    ended = nde_study("run", "small.yaml", "--trials", "+1", cwd=tmp_path)
    assert (ended.code, ended.err) == (0, "")
    ended = nde_study("resume", "small", "--rerun", "1", "--epochs", "6", cwd=tmp_path)
    assert (ended.code, ended.err) == (0, "")
    after = Ledger(untracked).record()
    assert after.trials[:6] == before.trials
    assert [trial.number for trial in after.trials] == list(range(8))
    assert after.trials[7].parent == 1
    assert after.trials[7].config == {**before.trials[1].config, "epochs": 6}
    assert [epoch.epoch for epoch in after.trials[7].epochs] == [1, 2, 3, 4, 5, 6]
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{untracked.parent}/mlflow.db")
    runs = client.search_runs([client.get_experiment_by_name("small").experiment_id])
    assert sorted(run.data.tags.get(Tag.TRIAL, "study") for run in runs) == [*map(str, range(8)), "study"]
    assert main(["run", "small.yaml", "--root", str(untracked.parent)]) == 0  # what was added is no other spec


def test_sync_sends_a_study_to_another_store_whole_and_once(untracked, tmp_path, capsys):
    other = f"sqlite:///{tmp_path}/other/mlflow.db"
    for _ in range(2):
        assert main(["sync", "small", "--tracking-uri", other]) == 0
        assert "has all of small: 6 trials, 6 of them ended" in capsys.readouterr().out
        client = mlflow.MlflowClient(tracking_uri=other)
        runs = client.search_runs([client.get_experiment_by_name("small").experiment_id])
        assert sorted(run.info.status for run in runs) == ["FAILED"] + ["FINISHED"] * 6
        (run,) = (run for run in runs if run.data.tags.get(Tag.TRIAL) == "0")
        assert [m.step for m in client.get_metric_history(run.info.run_id, "nfe")] == [1, 2, 3, 4]
    assert Ledger(untracked).record().tracking_uri == other


def test_a_password_is_in_no_error(spec, capsys):
    for option, uri in (
        ("--tracking-uri", "http://me:secret@127.0.0.1:9"),
        ("--storage", "postgresql://me:secret@127.0.0.1:9/x"),
    ):
        assert main(["run", "small.yaml", option, uri]) == 1
        err = capsys.readouterr().err
        assert "secret" not in err
        assert "127.0.0.1" in err
        assert err.count("\n") == 1


def test_the_number_of_workers_is_not_another_spec(at_home, capsys):
    assert main(["run", "small.yaml", "--workers", "1"]) == 0


def test_a_second_driver_is_refused_with_the_holder(untracked, capsys):
    with Ledger(untracked).writing():
        assert main(["run", "small.yaml"]) == 1
    assert "study 'small' is being run by process" in capsys.readouterr().err


def test_an_experiment_of_another_study_of_this_name_is_left_alone(at_home, tmp_path, capsys):
    """On a shared server it may be a colleague's."""
    root = tmp_path / "other"
    code = main(["run", "small.yaml", "--root", str(root), "--tracking-uri", at_home.uri])
    assert code == 1
    expected = f"nde-study: {at_home.uri} has an experiment 'small' already; give the study another name with --name\n"
    assert capsys.readouterr().err == expected
    assert not root.exists()


def test_a_tracking_server_that_is_down_is_told_of_within_seconds(spec, tmp_path, capsys):
    began = time.monotonic()
    assert main(["run", "small.yaml", "--tracking-uri", DEAD]) == 1
    assert time.monotonic() - began < 30
    err = capsys.readouterr().err
    assert err.startswith(f"nde-study: tracking store {DEAD} does not answer: ")
    assert err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["small.yaml"]


def test_a_tracking_uri_that_mlflow_does_not_know_is_told_of_in_one_line(spec, tmp_path, capsys):
    assert main(["run", "small.yaml", "--tracking-uri", "ftp://somewhere"]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["small.yaml"]


@pytest.mark.parametrize("root", ["small.yaml/below", "/proc/nde-runs"])
def test_a_root_that_cannot_be_written_is_told_of_in_one_line(spec, root, tmp_path, capsys):
    assert main(["run", "small.yaml", "--root", root]) == 2
    err = capsys.readouterr().err
    assert f"{Path(root).absolute()}: cannot be written: " in err
    assert err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["small.yaml"]


def test_a_tracking_store_that_cannot_be_written_is_named_and_not_the_root(spec, tmp_path, capsys):
    assert main(["run", "small.yaml", "--tracking-uri", "sqlite:////proc/nope/mlflow.db"]) == 2
    assert "/proc/nope: cannot be written: " in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["small.yaml"]


@pytest.mark.parametrize("command", ["run", "validate"])
def test_a_malformed_spec_gives_one_line_per_problem_and_creates_nothing(command, tmp_path):
    wrong = SMALL.replace("trials: 6", "trails: 6").replace("workers: 2", "workers: none")
    (tmp_path / "small.yaml").write_text(wrong)
    ended = nde_study(command, "small.yaml", cwd=tmp_path)
    assert ended.code == 2
    assert ended.out == ""
    first, second = sorted(ended.err.splitlines())
    assert first.startswith("nde-study: small.yaml:5: trails: got the unknown key 'trails', allowed: name, task")
    assert second.startswith("nde-study: small.yaml:6: workers: got 'none', allowed: a whole number >= 1")
    assert [path.name for path in tmp_path.iterdir()] == ["small.yaml"]


@pytest.mark.parametrize("name", ["Upper", "a/b", "../up", "", "a\n"])
def test_a_name_that_could_be_a_path_is_refused(spec, name, tmp_path, capsys):
    assert main(["run", "small.yaml", "--name", name]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("nde-study: argument --name: got ")
    assert [path.name for path in tmp_path.iterdir()] == ["small.yaml"]


def test_more_configs_to_start_from_than_trials_asked_for_is_refused_before_anything_is_created(tmp_path, capsys):
    assert main(["run", "quickstart", "--trials", "1", "--root", str(tmp_path / "runs")]) == 2
    assert "start_from: got 2 configs, allowed: at most 1" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
