"""Trained models out, as folders that say what they promise, and a check that they hold it."""

import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from ndecore.errors import InputError, NDEError, SolveFailed
from ndecore.evaluation import measure
from ndecore.metrics import COSTS
from ndecore.training import TrainPlan
from reports.cards import model_card
from reports.config_files import read_yaml, write_yaml
from reports.confirmed_table import confirmed_rows
from reports.export import ExportedConfig
from reports.manifest import MANIFEST, check_manifest, write_manifest
from studies.build import build_exported
from studies.code_files import FOLDER as CODE
from studies.code_files import check_trusted, send
from studies.ledger import Ledger
from studies.serving import check_served, named_outputs, predict, requirements, save_mlflow_model
from studies.weights import save_weights, trained_model

CONFIG, WEIGHTS, CARD, MODEL = "config.yaml", "weights.safetensors", "README.md", "model"
_MOST = {"max_steps": 10**6, "threads": 1024}  # of a config that is verified
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
    plan = build_exported(exported, ledger.folder)
    model = trained_model(plan, _weights_of(exported, ledger))
    measured = _measured(plan, model, exported)
    if plan.n_seeds > 1:
        exported = _of_first_seed(exported, measured)
    broken = [each for each in measured if not each.is_kept and plan.n_seeds == 1]
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


def _weights_of(exported: ExportedConfig, ledger: Ledger) -> Path:
    stop_after = exported.config.get("stop_after")
    if stop_after is None or stop_after == ledger.trial(exported.trial).config.get("stop_after"):
        return ledger.whole_weights(exported.trial)
    return ledger.epoch_weights(exported.trial, stop_after)  # the trial itself has gone on


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


def verify_model(folder: Path, runs_code: bool = False) -> tuple[Promise, ...]:
    """Check that an export is whole, then measure its weights on the validation split.

    Args:
        folder: of the export.
        runs_code: whether code in it, of a task that is not ours, may be run.

    Returns:
        What it promises beside what was measured; seconds are not promised.

    Raises:
        InputError: a file is missing, added, changed or cut off, or is not what its name says; or there is code in it
            that may not be run.
    """
    check_manifest(folder)
    configs = read_yaml(folder / CONFIG)
    if len(configs) != 1:
        raise InputError(f"{folder / CONFIG}: got {len(configs)} configs, allowed: one")
    _check_bounds(folder / CONFIG, configs[0])
    check_trusted([configs[0].task, configs[0].config], folder, runs_code)
    plan = build_exported(configs[0], folder)
    promises = _measured(plan, trained_model(plan, folder / WEIGHTS), configs[0])
    if (folder / MODEL).exists() and all(each.is_kept for each in promises):
        check_served(folder / MODEL, _artifacts(folder))
    return promises


def _check_bounds(path: Path, exported: ExportedConfig) -> None:
    """A promise that everything keeps is none, and no export asks for what would keep this machine busy for ever."""
    for name, tolerance in exported.tolerances.items():
        if not 0.0 <= tolerance < math.inf:
            raise InputError(f"{path}: tolerances.{name}: got {tolerance:g}, allowed: a finite number >= 0")
    for name, most in _MOST.items():
        value = exported.config.get(name, 0)
        if not isinstance(value, int) or value > most:
            raise InputError(f"{path}: config.{name}: got {value!r:.40}, allowed: a whole number up to {most}")


def _measured(plan: TrainPlan, model: nn.Module, exported: ExportedConfig) -> tuple[Promise, ...]:
    torch.set_num_threads(plan.threads)
    data, size = plan.task.source(plan.task.splits().validation), plan.hyperparameters.eval_batch_size
    try:
        found = measure(plan.task, model, data, plan.settings, size)
    except SolveFailed as failure:
        raise NDEError(f"trial {exported.trial}: its weights cannot be solved: {failure}") from failure
    got = {**found.scores, "nfe": found.nfe, "solver_gap": found.solver_gap}
    return tuple(
        Promise(name, value, exported.tolerances.get(name, 0.0), got.get(name, math.nan))
        for name, value in exported.expected.items()
        if name not in COSTS or name == "nfe"
    )


def _of_first_seed(exported: ExportedConfig, measured: Sequence[Promise]) -> ExportedConfig:
    """What a trial of several seeds exports: the training with its first, whose weights were kept.

    The study measured means; what is promised is measured of these weights. Costs of the training stay the means.
    """
    expected = {**exported.expected, **{each.name: each.got for each in measured}}
    return replace(exported, config={**exported.config, "n_seeds": 1}, expected=expected)


def _write(folder: Path, ledger: Ledger, exported: ExportedConfig, plan: TrainPlan, model: nn.Module) -> None:
    folder.mkdir()
    send([exported.task, exported.config], ledger.folder, folder)
    write_yaml(folder / CONFIG, (exported,))
    save_weights(model, folder / WEIGHTS)
    batch = next(plan.task.source(plan.task.splits().validation).in_order(_N_EXAMPLES))
    example = {name: batch[name] for name in plan.task.inputs}
    outputs = named_outputs(predict(plan, model, example))
    study = ledger.record()
    rows = {row.trial: row for row in confirmed_rows(study)}
    card = model_card(exported, rows.get(exported.trial), study.by_name, _described(example), _described(outputs))
    (folder / CARD).write_text(card, encoding="utf-8")
    save_mlflow_model(folder / MODEL, _artifacts(folder), example, outputs, requirements([exported.task]))
    write_manifest(folder)


def _artifacts(folder: Path) -> dict[str, Path]:
    files = {"config": folder / CONFIG, "weights": folder / WEIGHTS, "code": folder / CODE}
    return {name: path for name, path in files.items() if path.exists()}


def _described(named: Mapping[str, Tensor]) -> str:
    """The tensors in words; one alone needs no name."""
    kinds = {name: _kind(tensor) for name, tensor in named.items()}
    return next(iter(kinds.values())) if len(kinds) == 1 else ", ".join(f"{n}: {kind}" for n, kind in kinds.items())


def _kind(tensor: Tensor) -> str:
    shape: Sequence[str] = ("batch", *map(str, tensor.shape[1:]))
    return f"{str(tensor.dtype).removeprefix('torch.')} [{', '.join(shape)}]"
