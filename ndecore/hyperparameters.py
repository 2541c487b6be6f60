"""How the optimizer runs: plain data, without torch."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from ndecore.compatibility import length_clashes, refuse
from ndecore.errors import InputError
from ndecore.keys import Above, AtLeast, Below, OneOf, Value, check_fields

# Those of `torch.optim` that step by gradients alone, on parameters of any shape.
OPTIMIZERS = (
    "adadelta",
    "adafactor",
    "adagrad",
    "adam",
    "adamax",
    "adamw",
    "asgd",
    "nadam",
    "radam",
    "rmsprop",
    "rprop",
    "sgd",
)
_NEEDED = {"exponential": "lr_end", "inverse": "lr_end", "step": "lr_step"}  # by schedules; above zero
_FACTOR = 0.1  # of each step


@dataclass(frozen=True)
class Hyperparameters:
    """How the optimizer runs; a task's own are what a config that is silent gets.

    The learning rate in a step, where p is the part of the training that is done, from 0 to below 1 after the warm-up:

    | lr_schedule | learning rate |
    |---|---|
    | constant | learning_rate |
    | cosine | lr_end + (learning_rate - lr_end) (1 + cos(pi p)) / 2, with lr_end = 0 if it is open |
    | step | learning_rate lr_factor^floor(epoch / lr_step) |
    | exponential | learning_rate (lr_end / learning_rate)^p |
    | inverse | learning_rate / (1 + (learning_rate / lr_end - 1) p), which is 1 / (1 + k t) |

    In the warm-up, the first `lr_warmup` of the training, it rises in a straight line to the schedule's first.

    Raises:
        InputError: a value that is not allowed, or a schedule without its end.
    """

    epochs: Annotated[int, AtLeast(1), "The passes over the training data."]
    learning_rate: Annotated[float, Above(0), "The size of the optimizer's steps, dimensionless."]
    batch_size: Annotated[int, AtLeast(1), "The samples in one training solve."]
    eval_batch_size: Annotated[int, AtLeast(1), "The samples in one held-out solve; NFE is counted per batch."]
    optimizer: Annotated[str, OneOf(*OPTIMIZERS), "The optimizer, one of torch.optim."] = "sgd"
    momentum: Annotated[float, AtLeast(0), Below(1), "Of sgd, dimensionless."] = 0.9
    weight_decay: Annotated[
        float | None, AtLeast(0), "The optimizer's weight decay, dimensionless; its own default if open."
    ] = None
    lr_schedule: Annotated[
        Literal["constant", "cosine", "step", "exponential", "inverse"],
        "How the learning rate changes over the training.",
    ] = "constant"
    lr_warmup: Annotated[
        float, AtLeast(0), Below(1), "The part of the training in which the learning rate rises, dimensionless."
    ] = 0.0
    lr_end: Annotated[float | None, AtLeast(0), "The learning rate at the end of a schedule, dimensionless."] = None
    lr_step: Annotated[int | None, AtLeast(1), "The epochs between two steps of the schedule `step`."] = None
    lr_factor: Annotated[
        float | None, Above(0), "Of the learning rate in each step of `step`, dimensionless; 0.1 if open."
    ] = None
    clip_norm: Annotated[
        float | None, Above(0), "The gradient's largest 2-norm; longer ones are scaled down to it."
    ] = None
    stop_after: Annotated[
        int | None,
        AtLeast(1),
        "The epochs after which training ends, of schedules that are made for `epochs`; all if open.",
    ] = None
    optimizer_options: Mapping[str, Value] = field(default_factory=dict)  # its own, `optimizer.NAME` in a config

    def __post_init__(self) -> None:
        check_fields(self)
        needed = _NEEDED.get(self.lr_schedule)
        if needed and not getattr(self, needed):
            got = f"{self.lr_schedule!r} with {needed} {getattr(self, needed)!r}"
            raise InputError(f"lr_schedule: got {got}, allowed: with {needed} > 0; add it to the config")
        refuse(length_clashes(self.epochs, self.stop_after))

    @property
    def last_epoch(self) -> int:
        """With which training ends."""
        return self.stop_after or self.epochs

    def rate(self, step: int, n_steps: int, epoch: int) -> float:
        """The learning rate of a step.

        Args:
            step: completed before it, over all epochs.
            n_steps: of the training in all.
            epoch: completed before it.
        """
        warm = self.lr_warmup * n_steps
        if step < warm:
            return self._scheduled(0.0, 0) * (step + 1) / (math.floor(warm) + 1)
        return self._scheduled((step - warm) / (n_steps - warm), epoch)

    def _scheduled(self, part: float, epoch: int) -> float:
        first, end = self.learning_rate, self.lr_end or 0.0
        if self.lr_schedule == "cosine":
            return end + (first - end) * (1 + math.cos(math.pi * part)) / 2
        if self.lr_schedule == "step" and self.lr_step:
            factor = _FACTOR if self.lr_factor is None else self.lr_factor
            return float(first * factor ** (epoch // self.lr_step))
        if self.lr_schedule == "exponential":
            return float(first * (end / first) ** part)
        if self.lr_schedule == "inverse":
            return first / (1 + (first / end - 1) * part)
        return first


def last_epoch(config: Mapping[str, object]) -> int:
    """With which the training of a flat and complete config ends."""
    found = config.get("stop_after") or config["epochs"]
    assert isinstance(found, int)
    return found
