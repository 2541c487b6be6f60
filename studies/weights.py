"""Trained weights: from a study's files, and as safetensors, which hold numbers and nothing else."""

from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from ndecore.errors import InputError
from ndecore.tasks.base import fresh_model
from ndecore.training import TrainPlan


def trained_model(plan: TrainPlan, path: Path) -> nn.Module:
    """The plan's model with the weights in a file, by its suffix: `.safetensors`, or torch's own of tensors alone.

    A checkpoint, which holds weights among other things, will do.

    Raises:
        InputError: there is no such file, it holds something else, or weights of another model.
    """
    model = fresh_model(plan.task, plan.seed)
    try:
        # Neither runs code: what is no plain tensor is refused.
        is_safe = path.suffix == ".safetensors"
        weights: Any = load_file(path) if is_safe else torch.load(path, weights_only=True, map_location="cpu")
    except FileNotFoundError as error:
        raise InputError(f"{path}: is not there: the weights of a trial are beside its study's ledger") from error
    except (SafetensorError, UnpicklingError, RuntimeError, EOFError, OSError) as error:
        raise InputError(f"{path}: holds no weights, or was cut off: {_one_line(error)}") from error
    if isinstance(weights.get("model"), dict):  # a checkpoint
        weights = weights["model"]
    try:
        model.load_state_dict(weights)
    except (RuntimeError, TypeError) as error:
        raise InputError(f"{path}: holds weights of another model: {_one_line(error)}") from error
    return model.to(plan.device)


def save_weights(model: nn.Module, path: Path) -> None:
    """Write the weights as safetensors."""
    # Not `save_file`, whose files their owner alone may read.
    path.write_bytes(save({name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}))


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
