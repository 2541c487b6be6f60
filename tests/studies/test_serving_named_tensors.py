"""An exported model of a task from a file, with several inputs and outputs by name, behind MLflow's interface."""

import json
from pathlib import Path

import mlflow
import numpy as np
import pytest
import torch
from mlflow.exceptions import MlflowException

from ndecore.errors import InputError
from ndecore.tasks.base import fresh_model
from reports.config_files import write_yaml
from reports.export import ExportedConfig
from studies.build import build_exported
from studies.serving import named_outputs, predict, save_mlflow_model
from studies.weights import save_weights

TASK = """
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ndecore import NeuralODE
from ndecore.datasets.base import Splits
from ndecore.hyperparameters import Hyperparameters
from ndecore.metrics import Direction, Metric
from ndecore.tasks.base import Task


class Latent(NamedTuple):
    first: Tensor
    last: Tensor


class Decay(nn.Module):
    def __init__(self):
        super().__init__()
        self.rate = nn.Parameter(torch.rand(3))

    def forward(self, t, y):
        return -self.rate * y


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.block, self.dropout = NeuralODE(Decay()), nn.Dropout(0.5)

    def forward(self, values, mask):
        first = (values * mask).sum(dim=1)
        last = self.block(first)
        return {"prediction": self.dropout(last).sum(dim=1), "latent": Latent(first, last)}


class Series(Task):
    metrics = (Metric("rmse", "1", Direction.MINIMIZE),)
    defaults = Hyperparameters(epochs=1, learning_rate=0.1, batch_size=4, eval_batch_size=8)
    inputs = ("values", "mask")

    def splits(self):
        draw = torch.Generator().manual_seed(0)
        values, mask = torch.randn(8, 5, 3, generator=draw), torch.rand(8, 5, 3, generator=draw) < 0.5
        part = {"values": values, "mask": mask, "targets": values.sum(dim=(1, 2))}
        return Splits(part, part, part)

    def model(self, generator):
        return Model()

    def loss(self, output, batch, moment):
        return (output["prediction"] - batch["targets"]).square().mean()

    def scores(self, output, batch):
        return {"rmse": self.loss(output, batch, None).sqrt().item()}
"""


@pytest.fixture
def exported(tmp_path: Path) -> ExportedConfig:
    (tmp_path / "series.py").write_text(TASK)
    return ExportedConfig("s", 0, "", "knee", str(tmp_path / "series.py"), {"rtol": 1e-3}, {}, {})


def test_each_input_and_output_has_a_name_in_the_signature(
    exported: ExportedConfig, tmp_path: Path, threads_restored: None
) -> None:
    plan = build_exported(exported)
    model = fresh_model(plan.task, 0)
    batch = next(plan.task.source(plan.task.splits().validation).in_order(4))
    example = {name: batch[name] for name in plan.task.inputs}
    outputs = named_outputs(predict(plan, model, example))
    assert list(outputs) == ["prediction", "latent.first", "latent.last"]
    assert model.training
    assert torch.equal(outputs["prediction"], outputs["latent.last"].sum(dim=1))  # no dropout: it serves in eval mode
    write_yaml(tmp_path / "config.yaml", (exported,))
    save_weights(model, tmp_path / "weights.safetensors")
    artifacts = {"config": tmp_path / "config.yaml", "weights": tmp_path / "weights.safetensors"}
    save_mlflow_model(tmp_path / "model", artifacts, example, outputs)
    loaded = mlflow.pyfunc.load_model(str(tmp_path / "model"))
    told = {each["name"]: each["tensor-spec"] for each in json.loads(loaded.metadata.signature.inputs.to_json())}
    assert {name: spec["dtype"] for name, spec in told.items()} == {"values": "float32", "mask": "bool"}
    served = loaded.predict({name: tensor.numpy() for name, tensor in example.items()})
    for name, expected in outputs.items():
        np.testing.assert_array_equal(served[name], expected.numpy())
    given = {name: tensor.numpy() for name, tensor in example.items()}
    for wrong, told in {
        "inputs: got shapes values (4, 5, 3), mask (3, 5, 3), allowed: the same number": {"mask": given["mask"][:3]},
        "NON_FINITE: the state or the vector field became NaN": {"values": given["values"] * np.float32(np.nan)},
    }.items():
        with pytest.raises(MlflowException) as refused:
            loaded.predict({**given, **told})
        assert wrong in refused.value.message
        assert refused.value.get_http_status_code() == 400
        assert "/" not in refused.value.message


def test_what_is_no_tensor_in_an_output_is_refused() -> None:
    with pytest.raises(InputError, match=r"output of the model: got str at a\.0, allowed: tensors"):
        named_outputs({"a": ["text"]})
