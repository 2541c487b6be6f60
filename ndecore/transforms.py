"""What torch can do to functions and cannot do to a solve."""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import torch
from torch.autograd import forward_ad

from ndecore.errors import InputError

Given = ParamSpec("Given")
Made = TypeVar("Made")


def left_out_of_graphs(function: Callable[Given, Made]) -> Callable[Given, Made]:
    """The function, which `torch.compile` is to call as it is: how many steps a solve takes is known when it is made.

    A vector field that is compiled itself stays so.
    """

    @wraps(function)
    def called(*args: Given.args, **kwargs: Given.kwargs) -> Made:
        if torch.compiler.is_compiling():
            left_out: Callable[Given, Made] = torch.compiler.disable(function)
            return left_out(*args, **kwargs)
        return function(*args, **kwargs)

    return called


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
