"""What is integrated, and the count of its evaluations."""

import torch

from ndecore.errors import InputError
from ndecore.types import State, VectorField


class ODETerm:
    """dy/dt = f(t, y), counting its evaluations (NFE).

    Args:
        field: f(t, y) with t a 0-d tensor of y's dtype and device; returns a tensor like y.
    """

    def __init__(self, field: VectorField) -> None:
        self.field = field
        self.n_evaluations = 0
        self.n_taped = 0  # of those, the ones made with gradients enabled

    def __call__(self, t: float, y: State) -> State:
        """Evaluate f(t, y) once; unit of y per unit of time. Raise `InputError` if it is not shaped like y."""
        self.n_evaluations += 1
        self.n_taped += torch.is_grad_enabled()
        # `full` puts the scalar into the kernel's arguments: no copy from the host, hence no synchronisation.
        dydt = self.field(torch.full((), t, dtype=y.dtype, device=y.device), y)
        if dydt.shape != y.shape or dydt.dtype != y.dtype:
            raise InputError(
                f"vector field returned shape {tuple(dydt.shape)} of {dydt.dtype}, "
                f"allowed: {tuple(y.shape)} of {y.dtype}, like its state; reshape or cast its output"
            )
        return dydt
