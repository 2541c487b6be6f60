"""Penalties with their weights, and several at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from ndecore.integrate import SolveSettings
from ndecore.observing import Grid, Wishes, told_to_all
from ndecore.regularizers.base import PenaltyContext, Regularizer
from ndecore.regularizers.schedules import Moment, Schedule, Seen
from ndecore.running_cost import JointCost
from ndecore.solution import Solution
from ndecore.terms import ODETerm, SDETerm
from ndecore.types import PerPenalty


@dataclass
class Memory:
    """What a schedule looks back at."""

    seen: Seen | None = None  # by the last step; None before the first
    before: Seen | None = None  # by the one before it
    # Those of the last solve, which can give the penalty what it needs.
    checked: SolveSettings | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Weighted:
    """A penalty, and the schedule of its weight, with what the schedule has seen: make it once for a training.

    Args:
        regularizer: the penalty.
        schedule: of its weight.
        memory: of the training; `state_dict` is its checkpoint.
    """

    regularizer: Regularizer
    schedule: Schedule
    memory: Memory = field(default_factory=Memory, compare=False, repr=False)

    def fresh(self) -> "Weighted":
        """The same for another training, with nothing seen yet."""
        return Weighted(self.regularizer, self.schedule)

    def check(self, settings: SolveSettings) -> None:
        """See `Regularizer.check`; of settings that a training keeps, once."""
        if self.memory.checked is not settings:
            self.regularizer.check(settings)
            self.memory.checked = settings

    def weight(self, moment: Moment) -> float:
        """The weight in the coming step, dimensionless."""
        return self.schedule(moment._replace(seen=self.memory.seen, before=self.memory.before))

    def remember(self, seen: Seen) -> None:
        """Take in what a training step did."""
        self.memory.before, self.memory.seen = self.memory.seen, seen

    def state_dict(self) -> dict[str, tuple[float, ...] | None]:
        """What was seen, as numbers alone."""
        memory = self.memory
        return {
            name: None if seen is None else tuple(seen)
            for name, seen in (("seen", memory.seen), ("before", memory.before))
        }

    def load_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        """Go on from a `state_dict`."""
        self.memory.seen, self.memory.before = (
            None if checkpoint[name] is None else Seen(*checkpoint[name]) for name in ("seen", "before")
        )


class Session:
    """One training solve, as all of its penalties want it.

    Args:
        regularizers: the penalties.
        grid: the model's.
        generator: of their random choices.
    """

    def __init__(self, regularizers: Sequence[Regularizer], grid: Grid, generator: torch.Generator) -> None:
        self._regularizers, own = tuple(regularizers), dict[int, Wishes]()
        # First what moves the grid: the others draw their times from the span that is solved.
        for i in sorted(range(len(self._regularizers)), key=lambda i: not self._regularizers[i].moves_grid):
            own[i] = self._regularizers[i].prepare(grid, generator)
            grid = own[i].grid
        self._own = [own[i] for i in range(len(self._regularizers))]
        self.wishes = _joined(self._own, grid)
        self.has_penalties = bool(self._regularizers)

    def penalties(self, term: ODETerm | SDETerm, settings: SolveSettings, solution: Solution) -> PerPenalty:
        """Each penalty of the finished solve: [penalties], dimensionless."""
        taken, found = 0, []
        for regularizer, wishes in zip(self._regularizers, self._own, strict=True):
            part = solution
            if wishes.running_cost is not None and solution.costs is not None:
                n = wishes.running_cost.n_costs
                part, taken = replace(solution, costs=solution.costs[taken : taken + n]), taken + n
            found.append(regularizer.penalty(PenaltyContext(term, settings, part, wishes)))
        return torch.stack(found) if found else solution.y1.new_zeros(0)


def _joined(parts: Sequence[Wishes], grid: Grid) -> Wishes:
    watches = [part.watch for part in parts if part.watch is not None]
    costs = [part.running_cost for part in parts if part.running_cost is not None]
    return Wishes(
        grid,
        times=tuple(t for part in parts for t in part.times),
        differentiable_records=any(part.differentiable_records for part in parts),
        watch=told_to_all(watches) if watches else None,
        running_cost=JointCost(costs) if costs else None,
    )
