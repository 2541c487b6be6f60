"""Trained models out, as folders that say what they promise, and a check that they hold it."""

import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from ndecore.errors import InputError, NDEError, SolveFailed
from ndecore.evaluation import measure
from ndecore.metrics import COSTS
from ndecore.models.base import SolvingModel
from ndecore.training import TrainPlan
from reports.cards import model_card
from reports.config_files import read_yaml, write_yaml
from reports.confirmed_table import confirmed_rows
from reports.export import ExportedConfig
from reports.manifest import MANIFEST, check_manifest, write_manifest
from studies.build import build_exported
from studies.ledger import Ledger
from studies.serving import predict, save_mlflow_model
from studies.weights import save_weights, trained_model

CONFIG, WEIGHTS, CARD, MODEL = "config.yaml", "weights.safetensors", "README.md", "model"
_N_EXAMPLES = 4  # inputs in the example


@dataclass(frozen=True)
class Promise:
    """A number that an export promises, and what was measured here."""

    name: str
    expected: float
    tolerance: float
    got: float

    @property
    def is_kept(self) -> bool:
        """Whether it was measured within the tolerance."""
        return abs(self.got - self.expected) <= self.tolerance


def export_model(ledger: Ledger, exported: ExportedConfig, folder: Path) -> None:
    """Write one model's folder: config, weights, card, MLflow model, and the list of them all.

    It is made beside its place, checked, and moved there when it is whole.

    Args:
        ledger: of the study, with the trained weights.
        exported: what to write.
        folder: to be made; what is there, see `check_free`, is replaced.

    Raises:
        InputError: the weights are not there, or the folder cannot be written.
        NDEError: the weights do not give what the study had measured.
    """
    plan = build_exported(exported)
    model = trained_model(plan, ledger.weights_path(exported.trial))
    broken = [each for each in _measured(plan, model, exported) if not each.is_kept]
    if broken:
        told = ", ".join(f"{each.name} {each.got:.6g} instead of {each.expected:.6g}" for each in broken)
        raise NDEError(f"trial {exported.trial}: its weights give {told}: they are not those that the study measured")
    folder = folder.absolute()
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as scratch:
            whole = Path(scratch) / "export"
            _write(whole, ledger, exported, plan, model)
            if folder.exists():
                folder.rename(Path(scratch) / "before")
            whole.rename(folder)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written: {error.strerror or error}") from error


def check_free(folder: Path, overwrite: bool) -> None:
    """Whether an export may be put there: raise `InputError` if it would take the place of something else."""
    is_empty = not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))
    if not is_empty and not (overwrite and (folder / MANIFEST).is_file()):
        remedy = "another folder, or --overwrite of an earlier export"
        raise InputError(f"--output: got {folder}, which has something in it, allowed: {remedy}")


def exports_in(folder: Path) -> tuple[Path, ...]:
    """The exports that a folder is or holds, sorted; raise `InputError` if there are none."""
    found = (folder,) if (folder / MANIFEST).exists() else tuple(sorted(p.parent for p in folder.glob(f"*/{MANIFEST}")))
    if not found:
        raise InputError(f"{folder}: got no {MANIFEST}, here or one level below; allowed is a folder from `export`")
    return found


def verify_model(folder: Path) -> tuple[Promise, ...]:
    """Check that an export is whole, then measure its weights on the validation split.

    Returns:
        What it promises beside what was measured; seconds are not promised.

    Raises:
        InputError: a file is missing, added, changed or cut off, or is not what its name says.
    """
    check_manifest(folder)
    configs = read_yaml(folder / CONFIG)
    if len(configs) != 1:
        raise InputError(f"{folder / CONFIG}: got {len(configs)} configs, allowed: one")
    plan = build_exported(configs[0])
    return _measured(plan, trained_model(plan, folder / WEIGHTS), configs[0])


def _measured(plan: TrainPlan, model: SolvingModel, exported: ExportedConfig) -> tuple[Promise, ...]:
    torch.set_num_threads(plan.threads)
    split, size = plan.task.splits().validation, plan.hyperparameters.eval_batch_size
    try:
        found = measure(plan.task, model, split, plan.settings, size)
    except SolveFailed as failure:
        raise NDEError(f"trial {exported.trial}: its weights cannot be solved: {failure}") from failure
    got = {**found.scores, "nfe": found.nfe, "solver_gap": found.solver_gap}
    return tuple(
        Promise(name, value, exported.tolerances.get(name, 0.0), got.get(name, math.nan))
        for name, value in exported.expected.items()
        if name not in COSTS or name == "nfe"
    )


def _write(folder: Path, ledger: Ledger, exported: ExportedConfig, plan: TrainPlan, model: SolvingModel) -> None:
    folder.mkdir()
    write_yaml(folder / CONFIG, (exported,))
    save_weights(model, folder / WEIGHTS)
    example = plan.task.splits().validation.inputs[:_N_EXAMPLES]
    output = predict(plan, model, example)
    rows = {row.trial: row for row in confirmed_rows(ledger.record())}
    card = model_card(exported, rows.get(exported.trial), _described(example), _described(output))
    (folder / CARD).write_text(card, encoding="utf-8")
    save_mlflow_model(folder / MODEL, folder / CONFIG, folder / WEIGHTS, example, output)
    write_manifest(folder)


def _described(tensor: torch.Tensor) -> str:
    shape: Sequence[str] = ("batch", *map(str, tensor.shape[1:]))
    return f"{str(tensor.dtype).removeprefix('torch.')} [{', '.join(shape)}]"
