"""An exported model behind MLflow's interface: what `mlflow models serve` answers from."""

import logging
import os
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import torch
from mlflow.models import ModelSignature
from mlflow.pyfunc.model import PythonModel
from mlflow.pyfunc.model import PythonModelContext as Context
from mlflow.types import Schema, TensorSpec

from ndecore.models.base import SolveRequest, SolvingModel
from ndecore.training import TrainPlan
from reports.config_files import read_yaml
from studies.build import build_exported
from studies.weights import trained_model

_CODE = Path(__file__).with_name("served_model.py")


class ServedModel(PythonModel):
    """Predicts a batch of inputs, as `predict` does."""

    def load_context(self, context: Context) -> None:
        """Read config and weights, which lie beside the model's description."""
        (config,) = read_yaml(Path(context.artifacts["config"]))
        self._plan = build_exported(config)
        self._model = trained_model(self._plan, Path(context.artifacts["weights"]))

    def predict(self, context: Context, model_input: np.ndarray, params: dict[str, Any] | None = None) -> np.ndarray:
        """Outputs of one solve of the whole batch."""
        output: np.ndarray = predict(self._plan, self._model, torch.from_numpy(np.array(model_input))).numpy()
        return output


def predict(plan: TrainPlan, model: SolvingModel, inputs: torch.Tensor) -> torch.Tensor:
    """The outputs for a batch, solved at once; raise `SolveFailed` where that ended early."""
    torch.set_num_threads(plan.threads)
    with torch.no_grad():
        return model(inputs.to(plan.device), SolveRequest(plan.settings)).output.cpu()


def save_mlflow_model(folder: Path, config: Path, weights: Path, example: torch.Tensor, output: torch.Tensor) -> None:
    """Write an MLflow model whose code is this package's: no pickle.

    Args:
        folder: to be made.
        config: the exported config.
        weights: as safetensors.
        example: a batch of inputs.
        output: what the model returns for it.
    """
    tensors = (example.numpy(), output.numpy())
    inputs, outputs = (Schema([TensorSpec(t.dtype, (-1, *t.shape[1:]))]) for t in tensors)
    # It draws bars for copying two small files, and tells that it looks at the example.
    os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
    logging.getLogger("mlflow.pyfunc").setLevel(logging.WARNING)
    mlflow.pyfunc.save_model(
        folder,
        python_model=str(_CODE),
        artifacts={"config": str(config), "weights": str(weights)},
        signature=ModelSignature(inputs, outputs),
        input_example=tensors[0],
        pip_requirements=["nde-study[studies]"],
    )
