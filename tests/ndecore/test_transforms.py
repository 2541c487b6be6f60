"""Transforms of torch on a solve: what works, and what is refused in one line."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad

import ndecore
from ndecore.errors import InputError

Y0 = torch.tensor([0.3, -0.5], dtype=torch.float64)
WEIGHT = torch.tensor([[0.3, -0.8], [0.5, 0.1]], dtype=torch.float64)


def end(y0: Tensor, weight: Tensor = WEIGHT) -> Tensor:
    return ndecore.solve(lambda t, y: torch.tanh(weight @ y), y0, 0.0, 1.0, rtol=1e-3, atol=1e-3).y1


def in_forward_mode() -> Tensor:
    with forward_ad.dual_level():
        return end(forward_ad.make_dual(Y0, Y0))


# Forward mode compiles what torch 2.13 itself calls deprecated.
@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")
@pytest.mark.parametrize(
    "transform",
    [
        lambda: torch.func.grad(lambda y: end(y).sum())(Y0),
        lambda: torch.func.vjp(end, Y0),
        lambda: torch.func.jvp(end, (Y0,), (Y0,)),
        lambda: torch.func.jacrev(end)(Y0),
        lambda: torch.func.jacfwd(end)(Y0),
        lambda: torch.func.vmap(end)(torch.stack([Y0, Y0])),
        lambda: torch.func.vmap(lambda w: end(Y0, w))(torch.stack([WEIGHT, WEIGHT])),
        in_forward_mode,
    ],
)
def test_transforms_of_functions_are_refused_in_a_line(transform: Callable[[], object]) -> None:
    with pytest.raises(InputError, match=r"torch\.func") as refusal:
        transform()
    assert "\n" not in str(refusal.value)


def test_field_may_transform_what_it_computes_itself() -> None:
    def field(t: Tensor, y: Tensor) -> Tensor:
        return torch.func.grad(lambda x: -0.5 * x.square().sum())(y)  # = -y

    y1 = ndecore.solve(field, Y0, 0.0, 1.0).y1
    torch.testing.assert_close(y1, Y0 * torch.tensor(-1.0).double().exp(), rtol=1e-5, atol=0)


def test_jacobian_and_hessian_by_autograd_go_through_the_tape() -> None:
    jacobian = torch.autograd.functional.jacobian(end, Y0)
    by_hand = torch.stack([(end(Y0 + h) - end(Y0 - h)) / 2e-3 for h in 1e-3 * torch.eye(2).double()], dim=1)
    torch.testing.assert_close(jacobian, by_hand, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(torch.autograd.functional.jacobian(end, Y0, vectorize=True), jacobian)
    hessian = torch.autograd.functional.hessian(lambda y: end(y).square().sum(), Y0)
    torch.testing.assert_close(hessian, hessian.t())
    assert hessian.abs().sum() > 0


def test_functional_call_of_a_block_is_no_transform() -> None:
    block = ndecore.NeuralODE(torch.nn.Identity(), rtol=1e-3, atol=1e-3)

    class Field(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(WEIGHT.clone())

        def forward(self, t: Tensor, y: Tensor) -> Tensor:
            return torch.tanh(self.weight @ y)

    block.field = Field()
    other = {"field.weight": (2 * WEIGHT).requires_grad_()}
    found = torch.func.functional_call(block, other, (Y0,))
    torch.testing.assert_close(found, end(Y0, 2 * WEIGHT))
    assert torch.autograd.grad(found.sum(), list(other.values()))[0].abs().sum() > 0
