"""`show --anytime` and `export --at`: an epoch of a trial as a config that trains to it."""

import json
from dataclasses import replace

import pytest
from test_early_stopping import ledger_with, run

from reports.config_files import read_yaml
from studies.cli import main


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("anytime") / "runs"
    run(ledger_with(folder, "none"), 6)
    return folder


def test_the_front_over_epochs_is_shown_and_said_beside_that_of_trials(folder, capsys):
    assert main(["show", "made", "--root", str(folder), "--anytime"]) == 0
    shown = capsys.readouterr().out
    assert "x 1." in shown or "x 2." in shown
    assert "that of whole trials" in shown
    assert main(["show", "made", "--root", str(folder), "--anytime", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["hypervolume"] > data["hypervolume_of_whole"]
    assert all(member["config"].get("stop_after", 10) == member["epoch"] for member in data["front"])
    assert main(["show", "made", "--root", str(folder)]) == 0
    assert "nde-study show made --anytime" in " ".join(capsys.readouterr().out.split())


def test_an_epoch_is_exported_as_a_config_and_not_with_weights_that_are_gone(folder, tmp_path, capsys):
    asked = ["export", "made", "--root", str(folder), "--at"]
    assert main([*asked, "2@3", "-o", str(tmp_path / "short.yaml")]) == 0
    (found,) = read_yaml(tmp_path / "short.yaml")
    assert (found.trial, found.config["epochs"], found.config["stop_after"]) == (2, 10, 3)
    assert found == replace(found, role="trial 2 after 3 of 10 epochs")
    assert main([*asked, "2@3", "-o", str(tmp_path / "folder")]) == 2
    assert main([*asked, "2@30", "-o", str(tmp_path / "other.yaml")]) == 2
    err = capsys.readouterr().err
    assert "--at: got" in err
    assert "2@3: its weights are not kept" in err
    assert "--at: got '2@30', allowed: TRIAL@EPOCH" in err
