"""Benchmarks measure what they say, on a small scale."""

import json
from importlib import import_module

import pytest

from studies.benchmarks import BENCHMARKS
from studies.cli import main


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_benchmark_says_what_it_does(name: str) -> None:
    module = import_module(f"studies.benchmarks.{name}")
    assert module.__doc__
    assert callable(module.configure)
    assert callable(module.main)


def test_baseline_compares_the_two_models_on_the_same_seeds_and_writes_both_reports(tmp_path, monkeypatch) -> None:
    baseline = import_module("studies.benchmarks.baseline")
    monkeypatch.setattr(baseline, "_LEARNING_RATES", (0.05, 0.1))
    assert main(["bench", "baseline", "--seeds", "2", "--epochs", "2", "-o", str(tmp_path / "new")]) == 0
    measured = json.loads((tmp_path / "new" / "baseline.json").read_text())
    losses = {float(rate): loss for rate, loss in measured["tuning"].items()}
    assert measured["learning_rate"] == min(losses, key=lambda rate: losses[rate])
    for model in ("vanilla", "er-code"):
        assert len(measured[model]["nfe"]) == 2
        assert all((nfe - 2) % 6 == 0 for nfe in measured[model]["nfe"])
    assert measured["vanilla"]["train_work"] != measured["er-code"]["train_work"]
    report = (tmp_path / "new" / "baseline.md").read_text()
    assert "| NFE, held-out |" in report
    assert "machine: " in report


@pytest.mark.slow
def test_solvers_are_raced_against_their_peers_and_the_reports_written(tmp_path) -> None:
    assert main(["bench", "solvers", "--only", "W3a", "--rounds", "2", "-o", str(tmp_path)]) == 0
    measured = json.loads((tmp_path / "solvers.json").read_text())
    w3a = measured["workloads"]["W3a"]
    assert all(len(times) == 2 for times in (*w3a["forward_ms"].values(), *w3a["backward_ms"].values()))
    assert w3a["error"]["ndecore tsit5"] < w3a["error"]["torchdiffeq dopri5"] < 1e-3
    adjoints = {each["adjoint"] for each in measured["memory"]}
    assert adjoints == {"tape", "checkpointed", "interpolating", "torchdiffeq", "torchdiffeq_adjoint"}
    report = (tmp_path / "solvers.md").read_text()
    assert "| W3a | forward |" in report
    assert "machine: " in report
    assert (tmp_path / "solvers.png").stat().st_size > 10_000


@pytest.mark.parametrize("only", ["W9", "w1"])
def test_a_workload_that_there_is_not_is_refused(only: str, tmp_path, capsys) -> None:
    assert main(["bench", "solvers", "--only", only, "-o", str(tmp_path)]) == 2
    assert f"got '{only}', allowed: W1, W2, W3a, W3b, digits" in capsys.readouterr().err


def test_an_output_folder_that_cannot_be_written_is_told_of_before_anything_is_measured(capsys) -> None:
    assert main(["bench", "baseline", "-o", "/proc/nope"]) == 2
    err = capsys.readouterr().err
    assert "--output: /proc/nope cannot be written: " in err
    assert err.count("\n") == 1
