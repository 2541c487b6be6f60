"""Benchmarks measure what they say, on a small scale."""

import json
from dataclasses import asdict, replace
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


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ndecore.errors.RoundingWarning")  # two epochs at 1e-6: hardly an error yet
def test_presets_are_compared_with_vanilla_on_the_same_seeds_and_the_reports_written(tmp_path, monkeypatch) -> None:
    regularizers = import_module("studies.benchmarks.regularizers")
    setting = regularizers._SETTINGS["digits_node"]
    monkeypatch.setitem(regularizers._SETTINGS, "digits_node", replace(setting, learning_rates=(0.05, 0.1)))
    options = ["--tasks", "digits_node", "--presets", "er-code,steer-er,adaptive error,constant error 1"]
    done = main(["bench", "regularizers", *options, "--seeds", "2", "--epochs", "2", "-o", str(tmp_path / "new")])
    assert done == 0
    (measured,) = json.loads((tmp_path / "new" / "regularizers.json").read_text())
    losses = {float(rate): loss for rate, loss in measured["tuning"].items()}
    assert measured["learning_rate"] == min(losses, key=lambda rate: losses[rate])
    assert set(measured["runs"]) == {"vanilla", "er-code", "steer-er", "adaptive error", "constant error 1"}
    nfe = {name: [run[1] for run in runs] for name, runs in measured["runs"].items()}
    assert all(len(values) == 2 and (value - 2) % 6 == 0 for values in nfe.values() for value in values)
    assert measured["runs"]["vanilla"] != measured["runs"]["er-code"]
    kept = regularizers._measured(tmp_path / "new" / "regularizers")  # by a later call for other tasks
    assert json.loads(json.dumps(asdict(kept["digits_node"]))) == measured
    report = (tmp_path / "new" / "regularizers.md").read_text()
    assert "| er-code | " in report
    assert "0.70 / 0.64 / 0.84 (P1)" in report
    assert "The adapting weight was asked for 32 evaluations" in report
    assert "machine: " in report
    assert (tmp_path / "new" / "regularizers.png").stat().st_size > 10_000


@pytest.mark.slow
def test_neural_sdes_are_compared_each_with_its_own_unregularized_model(tmp_path, monkeypatch) -> None:
    regularizers = import_module("studies.benchmarks.regularizers")
    for title, setting in regularizers._SDE_SETTINGS.items():
        monkeypatch.setitem(regularizers._SDE_SETTINGS, title, replace(setting, learning_rates=(0.01,), rounds=1))
    titles = ["digits_nsde geometric", "spiral_sde"]
    options = ["--sde", "--tasks", ",".join(titles), "--presets", "er-nsde,er-spiral-sde,sr-nsde,vanilla by SOSRI2"]
    assert main(["bench", "regularizers", *options, "--seeds", "2", "--epochs", "1", "-o", str(tmp_path)]) == 0
    digits, spiral = json.loads((tmp_path / "sde_regularizers.json").read_text())
    assert [digits["task"], spiral["task"]] == titles
    assert set(digits["runs"]) == {"vanilla", "er-nsde"}
    assert set(spiral["runs"]) == {"vanilla", "er-spiral-sde", "sr-nsde", "vanilla by SOSRI2"}
    assert {config["sde"] for config in digits["configs"].values()} == {"geometric"}
    assert spiral["configs"]["sr-nsde"]["solver"] == "sosri2"
    report = (tmp_path / "sde_regularizers.md").read_text()
    assert "0.95 / 0.96 / 0.93 (P1)" in report
    assert "## digits_nsde geometric" in report
    assert "](sde_regularizers.png)" in report
    assert (tmp_path / "sde_regularizers.png").stat().st_size > 10_000


@pytest.mark.parametrize("option", ["--tasks", "--presets"])
def test_a_task_or_a_preset_that_there_is_not_is_refused(option: str, tmp_path, capsys) -> None:
    assert main(["bench", "regularizers", option, "nope", "-o", str(tmp_path)]) == 2
    assert f"{option}: got nope, allowed: " in capsys.readouterr().err


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
    assert main(["bench", "regularizers", "-o", "/proc/nope"]) == 2
    err = capsys.readouterr().err
    assert "--output: /proc/nope cannot be written: " in err
    assert err.count("\n") == 1


@pytest.mark.slow
def test_stochastic_solvers_are_raced_against_torchsde_and_the_reports_written(tmp_path) -> None:
    assert main(["bench", "solvers", "--sde", "--rounds", "2", "-o", str(tmp_path)]) == 0
    measured = json.loads((tmp_path / "sde_solvers.json").read_text())
    assert all(len(times) == 2 for part in ("forward_ms", "backward_ms") for times in measured[part].values())
    points = {(p["method"], p["setting"]): p for p in measured["work_precision"]}
    assert points["sosri, constant", "64 steps"]["n_drift"] == 256
    assert points["torchsde srk, constant", "64 steps"]["n_drift"] == 641
    for method in ("sosri, constant", "sosri2, constant", "torchsde srk, constant"):
        errors = [points[method, f"{n} steps"]["error"] for n in (8, 128)]
        assert 16**1.2 < errors[0] / errors[1] < 16**1.8
    assert points["sosri, adaptive", "0.01"]["error"] < points["sosri, adaptive", "1"]["error"] / 100
    report = (tmp_path / "sde_solvers.md").read_text()
    assert "| forward, 50 steps |" in report
    assert "adaptive, at equal strong error, halfway tree" in report
    assert (tmp_path / "sde_solvers.png").stat().st_size > 10_000


def test_a_workload_is_not_named_for_stochastic_solvers(tmp_path, capsys) -> None:
    assert main(["bench", "solvers", "--sde", "--only", "W1", "-o", str(tmp_path)]) == 2
    assert "--only: got a workload together with --sde" in capsys.readouterr().err


def test_workers_time_is_counted_while_each_has_a_trial() -> None:
    overhead = import_module("studies.benchmarks.overhead")
    events = [
        {"event": "placed", "number": 0, "time": 1.0, "since": 0.0},
        {"event": "placed", "number": 1, "time": 3.0, "since": 2.0},  # from here on there are two
        {"event": "epoch", "number": 0, "time": 7.0, "worker_s": 6.0},  # 5 s of it since then
        {"event": "ended", "number": 1, "time": 12.0, "worker_s": 9.0},
    ]
    assert overhead._inside(events, until=12.0) == pytest.approx((5.0 + 9.0) / (2 * 10.0))
    assert overhead._inside(events, until=7.0) == pytest.approx((5.0 + 4.0) / (2 * 5.0))
