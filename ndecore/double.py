"""A vector field of float32 parameters evaluated in float64."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map_only

from ndecore.types import State, VectorField


class InDouble:
    """f(t, y) in float64, whatever f is made of: every float32 tensor that meets an operation is widened before.

    Gradients reach the float32 tensors through their widening. Each is widened once for as long as this object lives,
    which is not to outlive a change of its tensors. Operations that ask for float32 by name, and those in custom
    kernels, stay in float32; `is_narrow` tells of a result that is.

    Args:
        field: f(t, y).
    """

    def __init__(self, field: VectorField) -> None:
        self._field, self._mode, self.is_narrow = field, _Widening(), False

    def __call__(self, t: Tensor, y: State) -> State:
        """Evaluate f once; t and y are float64, and so is the result."""
        with self._mode:
            found = self._field(t, y)
        # Anything else is left to who called, who says what was wrong with it.
        if isinstance(found, Tensor) and found.dtype is torch.float32:
            self.is_narrow = True
            return found.double()
        return found


class _Widening(TorchFunctionMode):
    """A mode and not a copy of the module: a field may be any function, and hold its tensors anywhere."""

    def __init__(self) -> None:
        super().__init__()
        self._widened: dict[tuple[int, bool], tuple[Tensor, Tensor]] = {}

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        args, kwargs = tree_map_only(Tensor, self._wide, (tuple(args), dict(kwargs or {})))
        return func(*args, **kwargs)

    def _wide(self, tensor: Tensor) -> Tensor:
        if tensor.dtype is not torch.float32:
            return tensor
        # What was widened without a gradient has none. The tensor is held, so that nobody else gets its id.
        key = id(tensor), torch.is_grad_enabled()
        if key not in self._widened:
            self._widened[key] = tensor, tensor.double()
        return self._widened[key][1]
