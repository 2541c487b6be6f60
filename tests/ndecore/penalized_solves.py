"""Solves that leave for a penalty what it wants."""

import torch
from initial_value_problems import TinyField
from torch import Tensor, nn
from wished_solves import SolveRequest

from ndecore.integrate import SolveSettings
from ndecore.observing import Grid
from ndecore.regularizers.base import PenaltyContext, Regularizer
from ndecore.terms import ODETerm

SETTINGS = SolveSettings(rtol=1e-3, atol=1e-4)


def start() -> Tensor:
    return torch.tensor([[0.6, -1.1], [0.2, 0.9], [1.4, 0.3]], dtype=torch.float64)


def solved(
    regularizer: Regularizer,
    field: object = None,
    y0: Tensor | None = None,
    grid: Grid = (0.0, 1.0),
    settings: SolveSettings = SETTINGS,
    *,
    seed: int = 0,
    **more: object,
) -> PenaltyContext:
    """A solve by the penalty's wishes; `more` are the term's."""
    term = ODETerm(field or TinyField(), **more)
    wishes = regularizer.prepare(grid, torch.Generator().manual_seed(seed))
    solution = SolveRequest(settings, wishes).solve(term, start() if y0 is None else y0, grid).solution
    return PenaltyContext(term, settings, solution, wishes)


def gradients(value: Tensor, y0: Tensor, field: nn.Module) -> list[Tensor]:
    """To the start and to the parameters; zero for what the value does not depend on."""
    leaves = [y0, *field.parameters()]
    found = torch.autograd.grad(value, leaves, allow_unused=True, retain_graph=True)
    return [torch.zeros_like(leaf) if bar is None else bar for leaf, bar in zip(leaves, found, strict=True)]


def off(found: list[Tensor], exact: list[Tensor]) -> float:
    """The largest relative error of a gradient."""
    pairs = zip(found, exact, strict=True)
    return max((left - right).norm().item() / max(right.norm().item(), 1e-12) for left, right in pairs)
