"""An exported model behind MLflow's interface: what `mlflow models serve` answers from."""

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeAlias

import mlflow
import numpy as np
import torch
import yaml
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.pyfunc.model import PythonModel
from mlflow.pyfunc.model import PythonModelContext as Context
from mlflow.types import Schema, TensorSpec
from torch import Tensor, nn

from ndecore.datasets.base import Batch
from ndecore.errors import InputError, NDEError
from ndecore.evaluation import predicting
from ndecore.member_files import described
from ndecore.observation import observe
from ndecore.seeding import seeded
from ndecore.tasks import TASKS
from ndecore.tasks.metering import Output
from ndecore.training import TrainPlan
from reports.config_files import read_yaml
from studies.build import build_exported
from studies.weights import trained_model

_LOADER = "mlflow.pyfunc.loaders.code_model"
_CODE = Path(__file__).with_name("served_model.py")
_REQUIRED = (
    "jaxtyping",
    "mlflow",
    "numpy",
    "pyyaml",
    "safetensors",
    "scikit-learn",
    "torch",
    "torchdiffeq",
    "torchsde",
)
# What MLflow writes beside code and artifacts: descriptions, which it reads and does not run.
_WRITTEN = (
    "MLmodel",
    "conda.yaml",
    "python_env.yaml",
    "requirements.txt",
    "input_example.json",
    "serving_input_example.json",
)
Arrays: TypeAlias = np.ndarray | dict[str, np.ndarray]  # one tensor, or several by name


class ServedModel(PythonModel):
    """Predicts a batch of inputs, as `predict` does; where the task has several, they come by their names."""

    def load_context(self, context: Context) -> None:
        """Read config and weights, which lie beside the model's description, and so does code of the user's."""
        path = Path(context.artifacts["config"])
        (config,) = read_yaml(path)
        self._plan = build_exported(config, path.parent)
        self._model = trained_model(self._plan, Path(context.artifacts["weights"]))

    def predict(self, context: Context, model_input: np.ndarray, params: dict[str, Any] | None = None) -> Arrays:
        """Outputs of one forward pass of the whole batch: an array, or arrays by name, and so are the inputs.

        Raises:
            MlflowException: they cannot be predicted; a server answers with status 400 and the reason in one line.
        """
        # MLflow reads the hint of `model_input`, and warns of every other one that is true.
        found: Any = model_input
        given = found if isinstance(found, Mapping) else {self._plan.task.inputs[0]: found}
        try:
            return self._predict({name: np.array(array) for name, array in given.items()})
        except Exception as error:  # noqa: BLE001 - whatever the model's code raises for inputs that it was not made for
            told = str(error) if isinstance(error, NDEError) else described(error)
            raise MlflowException(told, error_code=INVALID_PARAMETER_VALUE) from None

    def _predict(self, inputs: Mapping[str, np.ndarray]) -> Arrays:
        lengths = {name: array.shape[:1] for name, array in inputs.items()}
        if len(set(lengths.values())) > 1:
            got = ", ".join(f"{name} {array.shape}" for name, array in inputs.items())
            raise InputError(f"inputs: got shapes {got}, allowed: the same number of examples in each")
        outputs = predict(self._plan, self._model, {name: torch.from_numpy(array) for name, array in inputs.items()})
        named = named_outputs(outputs)
        if not all(tensor.isfinite().all() for tensor in named.values()):
            bad = ", ".join(name for name, array in inputs.items() if not np.isfinite(array).all())
            got = f"NaN or infinity in {bad}" if bad else "such that the outputs are NaN or infinite"
            raise InputError(f"inputs: got {got}, allowed: those of which the outputs are finite")
        return arrays(named)


def predict(plan: TrainPlan, model: nn.Module, batch: Batch) -> Output:
    """The outputs for a batch, of which the task's inputs are enough; raise `SolveFailed` where a solve ended early."""
    torch.set_num_threads(plan.threads)
    moved = {name: tensor.to(plan.device) for name, tensor in batch.items()}
    with torch.no_grad(), seeded(0, plan.device), predicting(model):
        with observe(settings=plan.settings, path_seed=0) as solves:
            output = plan.task.forward(model, moved)
        for each in solves:
            each.solution.check()
    return output


def named_outputs(output: Output, name: str = "") -> dict[str, Tensor]:
    """The tensors of an output by name, on the host: `mean`, `latent.0`; the name "" if it is one tensor.

    Raises:
        InputError: it holds anything but tensors.
    """
    if isinstance(output, Tensor):
        return {name: output.cpu()}
    if isinstance(output, Mapping):
        parts = {str(key): part for key, part in output.items()}
    elif isinstance(output, tuple | list):
        names = getattr(output, "_fields", range(len(output)))
        parts = {str(key): part for key, part in zip(names, output, strict=True)}
    else:
        got = f"{type(output).__name__} at {name or 'the top'}"
        raise InputError(f"output of the model: got {got}, allowed: tensors, or tuples, lists and dicts of them")
    prefix = f"{name}." if name else ""
    return {
        full: tensor for key, part in parts.items() for full, tensor in named_outputs(part, f"{prefix}{key}").items()
    }


def arrays(named: Mapping[str, Tensor]) -> Arrays:
    """The same for MLflow: an array if there is one without a name of its own."""
    found = {name: tensor.detach().numpy() for name, tensor in named.items()}
    return found[""] if set(found) == {""} else found


def requirements(members: Iterable[str]) -> list[str]:
    """What pip must install to load a model of these tasks, beside this package; those that add a task too.

    Not nde-study itself: it is on no index yet, and whoever takes the name there would be installed.
    """
    added = {package for name in members if (package := TASKS.package_of(name))}
    return [f"{name}=={version(name).partition('+')[0]}" for name in _REQUIRED] + sorted(added)


def save_mlflow_model(
    folder: Path,
    artifacts: Mapping[str, Path],
    example: Mapping[str, Tensor],
    outputs: Mapping[str, Tensor],
    packages: Sequence[str] = (),
) -> None:
    """Write an MLflow model whose code is this package's, and the user's own: no pickle.

    Args:
        folder: to be made.
        artifacts: "config", as exported; "weights", as safetensors; "code", the folder with the files that the config
            names, if it does.
        example: a batch of the task's inputs.
        outputs: what the model returns for it, by name.
        packages: what pip must install to load it; see `requirements`.
    """
    # It draws bars for copying two small files, and tells that it looks at the example.
    os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
    logging.getLogger("mlflow.pyfunc").setLevel(logging.WARNING)
    given = example if len(example) > 1 else dict.fromkeys(("",), next(iter(example.values())))
    mlflow.pyfunc.save_model(
        folder,
        python_model=str(_CODE),
        artifacts={name: str(path) for name, path in artifacts.items()},
        signature=ModelSignature(_schema(given), _schema(outputs)),
        input_example=arrays(given),
        pip_requirements=list(packages),
    )


def _schema(named: Mapping[str, Tensor]) -> Schema:
    return Schema(
        [TensorSpec(array.dtype, (-1, *array.shape[1:]), name or None) for name, array in _by_name(named).items()]
    )


def _by_name(named: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    return {name: tensor.detach().numpy() for name, tensor in named.items()}


def check_served(folder: Path, artifacts: Mapping[str, Path]) -> None:
    """Whether an MLflow model is what `save_mlflow_model` writes from these files; nothing is run.

    Raises:
        InputError: its code, its artifacts or what it says of itself are others, or there is something beside.
    """
    same = {_CODE.name: _CODE}
    for path in artifacts.values():
        files_of = [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]
        same |= {f"artifacts/{each.relative_to(path.parent).as_posix()}": each for each in files_of}
    for name, expected in same.items():
        if not (folder / name).is_file() or (folder / name).read_bytes() != expected.read_bytes():
            told = "the code that this version of nde-study serves" if expected is _CODE else f"the same as {expected}"
            raise InputError(f"{folder / name}: is not {told}; do not serve it, export it anew")
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    beside = sorted(files - {*same, *_WRITTEN})
    if beside:
        raise InputError(f"{folder}: got {', '.join(beside)}, which no export has; do not serve it, export it anew")
    try:
        flavor = yaml.safe_load((folder / "MLmodel").read_text(encoding="utf-8"))["flavors"]["python_function"]
        code = Path(flavor["model_code_path"]).name
        found = (flavor["loader_module"], code, flavor.get("python_model"), flavor.get("code"))
        paths = {str(each["path"]) for each in flavor["artifacts"].values()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, yaml.YAMLError):
        raise InputError(f"{folder / 'MLmodel'}: does not describe an export; export it anew") from None
    if found != (_LOADER, _CODE.name, None, None) or paths != {f"artifacts/{path.name}" for path in artifacts.values()}:
        raise InputError(f"{folder / 'MLmodel'}: names other code or files than the export's; do not serve it")
