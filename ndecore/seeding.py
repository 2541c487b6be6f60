"""Code of others that draws from torch's global random stream, and yet gives the same every time."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def seeded(seed: int, device: str = "cpu") -> Iterator[None]:
    """Let the global streams of the host and of the device begin at a seed, and then be as they were.

    Args:
        seed: what it is modulo 2^32 counts: torch's generator on the host takes no more of it.
        device: where else random numbers are drawn.
    """
    on_gpu = torch.device(device).type == "cuda"
    with torch.random.fork_rng(devices=[torch.device(device)] if on_gpu else []):
        torch.default_generator.manual_seed(seed)
        if on_gpu:
            torch.cuda.manual_seed(seed)
        yield
