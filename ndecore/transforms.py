"""What torch can do to functions and cannot do to a solve."""

import torch
from torch.autograd import forward_ad

from ndecore.errors import InputError


def refuse_transforms() -> None:
    """Raise `InputError` inside a transform of `torch.func` or inside forward-mode differentiation.

    Steps are fused functions with gradients of their own, and error control looks at numbers on the host: a batched or
    dual tensor has none.
    """
    if torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0:
        raise InputError(
            "torch.func: got a solve inside grad, vmap, jvp or another transform, or in forward mode, allowed: "
            "torch.autograd.grad, jacobian and hessian of torch.autograd.functional; a batch in the state for vmap"
        )
