"""A small fixed solve, timed: how fast a machine is, so that seconds of different nodes can be read side by side."""

import statistics
import time

import torch

from ndecore.integrate import SolveSettings
from ndecore.solving import solve

_N_WARM, _N_TIMED = 3, 9
_STATE, _BATCH, _WIDTH = 32, 64, 64


def calibrate(threads: int, device: str) -> float:
    """Seconds of one forward and backward solve of a fixed small network: the median of nine, after a warm-up."""
    torch.set_num_threads(threads)
    generator = torch.Generator().manual_seed(0)
    inner = torch.randn(_STATE, _WIDTH, generator=generator).div(_STATE**0.5).to(device).requires_grad_()
    outer = torch.randn(_WIDTH, _STATE, generator=generator).div(_WIDTH**0.5).to(device)
    start = torch.randn(_BATCH, _STATE, generator=generator).to(device)
    settings = SolveSettings(rtol=1e-4, atol=1e-4)

    def seconds() -> float:
        began = time.perf_counter()
        end = solve(lambda _, y: torch.tanh(y @ inner) @ outer, start, 0.0, 1.0, settings=settings, parameters=[inner])
        end.y1.square().mean().backward()
        inner.grad.sum().item()  # type: ignore[union-attr]  # waits for a GPU
        inner.grad = None
        return time.perf_counter() - began

    for _ in range(_N_WARM):
        seconds()
    return statistics.median(seconds() for _ in range(_N_TIMED))
