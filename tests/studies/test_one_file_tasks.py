"""Three tasks that exist nowhere in the package, a file each in tests/tasks, from a check to a served model."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import mlflow
import numpy as np
import pytest
import torch
from command_line import environment, serving

from reports.config_files import read_yaml
from studies.build import build_exported
from studies.models import CONFIG, MODEL, WEIGHTS
from studies.serving import arrays, named_outputs, predict
from studies.weights import trained_model

TASKS = Path(__file__).parents[1] / "tasks"
STUDY = """
name: one
task: {task}.py
objectives: [{score}, nfe]
trials: 2
workers: 1
max_solver_gap: 0.1
space:
  regularizer: {{choice: [none, error]}}
  weight: {{log_float: [1, 10], when: {{regularizer: error}}}}
  {key}: {{int: [4, 16]}}
fixed: {{epochs: 1, threads: 1}}
start_from:
  - {{preset: vanilla, {key}: 8}}
  - {{regularizer: error, weight: 3, {key}: 8}}
"""


# In one process, which no import hook of the tests slows down.
COMMANDS = """
import pathlib, shutil
from studies.cli import USER_MISTAKE, main

def done(line, code=0):
    assert main(line.split()) == code, line

done("check {task}.py")
done("run one.yaml")
pathlib.Path("{task}.py").unlink()  # the study has all that it needs
for line in ("confirm one --seeds 1", "sweep one --rtol 1e-2 --solver bosh3", "show one", "ls", "report one"):
    done(line)
done("export one --best {score} -o model")
shutil.rmtree("nde-runs")
done("verify model", USER_MISTAKE)  # it has code, which nobody has said that it may run
done("train model", USER_MISTAKE)
done("verify model --run-code")
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads_restored: None) -> Path:
    """The working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
@pytest.mark.cluster
@pytest.mark.parametrize(
    ("task", "score", "key"),
    [
        ("vowel_cde", "hits", "n_hidden"),
        ("latent_series", "forecast_mse", "n_latent"),
        ("wine_flow", "nll", "n_hidden"),
    ],
)
def test_a_task_in_one_file_goes_from_a_check_to_a_served_model(
    task: str, score: str, key: str, home: Path, port: int
) -> None:
    shutil.copy(TASKS / f"{task}.py", home)
    (home / "one.yaml").write_text(STUDY.format(task=task, score=score, key=key))
    commands = COMMANDS.format(task=task, score=score)
    done = subprocess.run(
        [sys.executable, "-c", commands], env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    exported = home / "model"
    assert (exported / "code" / f"{task}.py").is_file()
    plan = build_exported(read_yaml(exported / CONFIG)[0], exported)
    batch = next(plan.task.source(plan.task.splits().test).in_order(5))
    given = {name: batch[name] for name in plan.task.inputs}
    expected = named_outputs(predict(plan, trained_model(plan, exported / WEIGHTS), given))
    loaded = mlflow.pyfunc.load_model(str(exported / MODEL))
    served = loaded.predict(arrays(given if len(given) > 1 else {"": batch[plan.task.inputs[0]]}))
    for name, tensor in expected.items():
        np.testing.assert_array_equal(served[name] if name else served, tensor.numpy())
    if task == "latent_series":
        with serving(exported / MODEL, port, home) as answer:
            body = {"inputs": {name: tensor.tolist() for name, tensor in given.items()}}
            predictions = answer(json.dumps(body).encode())["predictions"]
        got = torch.tensor(predictions["values"])
        assert (got - expected["values"]).abs().max() <= 1e-6
