"""A study of somebody's task and metric, read where their package is not installed, and without its spec."""

import json

import pytest
from test_search import measured

from ndecore.metrics import COSTS, METRICS, Direction, Metric
from reports.records import Threshold, TrialStatus
from studies.cli import main
from studies.event_log import sealed
from studies.events import Created, Definition, Ended, Entry, Epoch, Started, entry_data

AUC = Metric("auc", "1", Direction.MAXIMIZE, "area under the curve", is_share=True)


@pytest.fixture
def root(tmp_path):
    study = Definition(
        name="theirs",
        task="somebodys_task",
        objectives=(AUC, METRICS["nfe"]),
        metrics=(AUC, *(METRICS[name] for name in COSTS)),
        thresholds=(Threshold("auc", 0.1, Direction.MAXIMIZE),),
        max_solver_gap=0.01,
        n_trials=2,
    )
    entries = [Entry(1.0, Created("id", study))]
    for number, rtol in enumerate((1e-4, 5e-4)):
        config = {"regularizer": "none", "rtol": rtol, "solver": "tsit5", "epochs": 30, "seed": 0}
        record = measured(config).__class__(**{**vars(measured(config)), "scores": {"auc": 0.9 - 100 * rtol}})
        entries += [
            Entry(2.0, Started(number, 1, 0, "" if number else "vanilla", config)),
            Entry(3.0, Epoch(number, record)),
            Entry(4.0, Ended(number, TrialStatus.COMPLETE)),
        ]
    (tmp_path / "theirs").mkdir()
    lines = [sealed(entry_data(entry), n) for n, entry in enumerate(entries, start=1)]
    (tmp_path / "theirs" / "events.jsonl").write_bytes(b"".join(lines))
    return tmp_path


def test_its_front_is_shown_and_reported(root, tmp_path, capsys):
    assert main(["ls", "--root", str(root)]) == 0
    assert "somebodys_task" in capsys.readouterr().out
    assert main(["show", "theirs", "--root", str(root), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert [each["name"] for each in shown["objectives"]] == ["auc", "nfe"]
    assert main(["show", "theirs", "--root", str(root)]) == 0
    assert "89.00 %" in capsys.readouterr().out
    assert main(["report", "theirs", "--root", str(root), "-o", str(tmp_path / "report")]) == 0
    assert "area under the curve" in (tmp_path / "report" / "report.md").read_text()


def test_a_config_of_it_is_exported_by_its_own_metric(root, tmp_path, capsys):
    path = tmp_path / "best.yaml"
    assert main(["export", "theirs", "--root", str(root), "--best", "auc", "-o", str(path)]) == 0
    assert "auc: 0.89" in path.read_text()
    assert main(["export", "theirs", "--root", str(root), "--best", "accuracy", "-o", str(path), "--overwrite"]) == 2
    assert "metric: got 'accuracy', allowed: auc, nfe" in capsys.readouterr().err
