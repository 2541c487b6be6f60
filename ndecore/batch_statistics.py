"""Batch normalization in a vector field: running statistics that see no rejected step."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ndecore.observing import observers
from ndecore.solves import Solve
from ndecore.terms import SDETerm


class BatchStatistics:
    """The batch norm layers of a model while it trains.

    In a solve such a layer normalizes by the batch of each evaluation, as everywhere in training, and leaves its
    running statistics alone: evaluations of steps that are rejected, and those that an adjoint repeats, would be
    among them. `update` takes them in once for each solve, from the field at its end.

    Args:
        model: whose layers.
    """

    def __init__(self, model: nn.Module) -> None:
        self._layers = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
        self._seen: set[_BatchNorm] = set()

    @contextmanager
    def steady(self) -> Iterator[None]:
        """Hold the running statistics in solves: around forward and backward, inside `observe` or after it."""
        hooks = [layer.register_forward_pre_hook(self._before) for layer in self._layers]
        hooks += [layer.register_forward_hook(self._after) for layer in self._layers]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def update(self, solves: Sequence[Solve]) -> None:
        """Let the layers that solves have called take in the end of each; not counted, without gradients."""
        if not self._seen:
            return
        with torch.no_grad():
            for each in solves:
                y = each.solution.y1.detach()
                t = torch.full((), each.solution.t1, dtype=y.dtype, device=y.device)
                term = each.term
                for field in (term.drift, term.diffuse) if isinstance(term, SDETerm) else (term.field,):
                    field(t, y)
        self._seen.clear()

    def _before(self, layer: nn.Module, given: Any) -> None:
        assert isinstance(layer, _BatchNorm)
        if not observers():  # solves hide them: this is an evaluation of a field
            layer.track_running_stats = False
            self._seen.add(layer)

    def _after(self, layer: nn.Module, given: Any, made: Any) -> None:
        assert isinstance(layer, _BatchNorm)
        layer.track_running_stats = True
