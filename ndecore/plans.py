"""A training run: what decides what it does, and what changes while it does it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from ndecore.hyperparameters import Hyperparameters
from ndecore.integrate import SolveSettings
from ndecore.optimizers import made_optimizer
from ndecore.regularizers.weighted import Weighted
from ndecore.tasks.base import Task, fresh_model


@dataclass(frozen=True)
class TrainPlan:
    """Everything that decides what a training run does; the same plan gives the same numbers on the same machine."""

    task: Task
    settings: SolveSettings
    hyperparameters: Hyperparameters
    penalties: tuple[Weighted, ...] = ()
    seed: int = 0  # of the initial parameters, the batches' order, a penalty's random times, a stochastic model's paths
    n_seeds: int = 1  # trainings with one seed after the other, of which a record is the mean
    threads: int = 1  # of torch; sums over another number of threads differ in their last digits
    device: str = "cpu"

    @property
    def seeds(self) -> range:
        """The seeds that it trains with."""
        return range(self.seed, self.seed + self.n_seeds)

    def alone(self, seed: int) -> "TrainPlan":
        """The same with one seed."""
        return replace(self, seed=seed, n_seeds=1)


class TrainState:
    """What changes while a plan is carried out; saved and loaded as a checkpoint."""

    def __init__(self, plan: TrainPlan) -> None:
        hyper = plan.hyperparameters
        self.model = fresh_model(plan.task, plan.seed).to(plan.device)
        self.optimizer = made_optimizer(self.model.parameters(), hyper)
        # Separate streams: a penalty that draws times must not change the order of the batches.
        self.batch_order = torch.Generator().manual_seed(2 * plan.seed + 1)
        self.penalty_times = torch.Generator().manual_seed(2 * plan.seed + 2)
        self.epoch = 0  # completed
        self.step = 0  # completed, over all epochs
        self.penalties = [each.fresh() for each in plan.penalties]  # with what their schedules have seen
        self.others = [TrainState(plan.alone(seed)) for seed in plan.seeds[1:]]  # of the further seeds
        self.train_s = 0.0
        self.train_work = 0
        self.peak_memory_mib = 0.0  # of the training steps that were looked at

    def state_dict(self) -> dict[str, Any]:
        """A checkpoint: tensors and numbers only, so that `torch.load(..., weights_only=True)` reads it."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "batch_order": self.batch_order.get_state(),
            "penalty_times": self.penalty_times.get_state(),
            "epoch": self.epoch,
            "step": self.step,
            "penalties": [each.state_dict() for each in self.penalties],
            "train_s": self.train_s,
            "train_work": self.train_work,
            "peak_memory_mib": self.peak_memory_mib,
            "others": [each.state_dict() for each in self.others],
        }

    def load_state_dict(self, checkpoint: Mapping[str, Any]) -> "TrainState":
        """Continue from a checkpoint of the same plan; return self."""
        self.model.load_state_dict(checkpoint["model"])
        self.optimizer.load_state_dict(checkpoint["optimizer"])
        self.batch_order.set_state(checkpoint["batch_order"])
        self.penalty_times.set_state(checkpoint["penalty_times"])
        self.epoch = checkpoint["epoch"]
        self.step = checkpoint["step"]
        for penalty, seen in zip(self.penalties, checkpoint["penalties"], strict=True):
            penalty.load_state_dict(seen)
        self.train_s = checkpoint["train_s"]
        self.train_work = checkpoint["train_work"]
        self.peak_memory_mib = checkpoint["peak_memory_mib"]
        for other, saved in zip(self.others, checkpoint["others"], strict=True):
            other.load_state_dict(saved)
        return self
