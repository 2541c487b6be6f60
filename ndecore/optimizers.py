"""The optimizers of torch, by their names in lower case."""

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn

from ndecore.errors import InputError
from ndecore.hyperparameters import OPTIMIZERS, Hyperparameters
from ndecore.keys import Value

_BY_NAME: Mapping[str, Any] = {name.lower(): cls for name, cls in vars(torch.optim).items() if isinstance(cls, type)}
_BETAS = ("beta1", "beta2")  # the two numbers of the argument `betas`, each a key of its own
_OTHERS = ("params", "lr", "betas", "foreach", "fused", "capturable", "differentiable", "maximize")


def made_optimizer(parameters: Iterable[nn.Parameter], hyper: Hyperparameters) -> torch.optim.Optimizer:
    """The optimizer that the hyperparameters name.

    Raises:
        InputError: an argument that it does not have, or a value that it does not take.
    """
    cls, options = _BY_NAME[hyper.optimizer], dict(hyper.optimizer_options)
    if hyper.optimizer == "sgd":
        options.setdefault("momentum", hyper.momentum)
    if hyper.weight_decay is not None:
        options["weight_decay"] = hyper.weight_decay
    check_options(hyper.optimizer, options)
    try:
        return cls(parameters, lr=hyper.learning_rate, **_with_betas(cls, options))
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"optimizer: got {hyper.optimizer!r} with {options}: {error}; change its arguments") from error


def check_options(optimizer: str, options: Mapping[str, Value]) -> None:
    """Raise `InputError` unless the optimizer has all these arguments."""
    allowed = own_options(optimizer)
    for name, value in options.items():
        if name not in allowed:
            raise InputError(f"optimizer.{name}: got {value!r} with {optimizer!r}, allowed: {', '.join(allowed)}")


def own_options(optimizer: str) -> tuple[str, ...]:
    """The arguments of an optimizer that a config may have as `optimizer.NAME`: numbers, flags and texts."""
    arguments = inspect.signature(_BY_NAME[optimizer]).parameters
    betas = _BETAS if "betas" in arguments else ()
    return (*betas, *(name for name in arguments if name not in _OTHERS))


def _with_betas(cls: Any, options: Mapping[str, Value]) -> dict[str, Any]:
    given = {name: value for name, value in options.items() if name not in _BETAS}
    if len(given) == len(options):
        return given
    default = inspect.signature(cls).parameters["betas"].default
    betas = tuple(options.get(name, value) for name, value in zip(_BETAS, default, strict=True))
    return {**given, "betas": betas}


assert set(OPTIMIZERS) <= set(_BY_NAME), "torch has them all"
