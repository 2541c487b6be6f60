"""A program that test_compile.py runs: solves inside compiled models, and vector fields that are compiled."""

from collections.abc import Callable

import torch
from torch import Tensor, fx, nn

import ndecore
from ndecore import NeuralODE, NeuralSDE, odeint, solve


class Field(nn.Module):
    def __init__(self, n: int) -> None:
        super().__init__()
        self.layer = nn.Linear(n, n)

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        return torch.tanh(self.layer(y)) * torch.cos(t)


class ByOdeint(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.field = Field(8)

    def forward(self, y: Tensor) -> Tensor:
        states: Tensor = odeint(self.field, y, torch.tensor([0.0, 0.4, 1.0]), rtol=1e-4, atol=1e-4)
        return states[-1] + states[1]


BLOCKS: dict[str, Callable[[], nn.Module]] = {
    "NeuralODE": lambda: NeuralODE(Field(8), rtol=1e-4),
    "NeuralSDE": lambda: NeuralSDE(Field(8), Field(8), is_mixing=True, rtol=1e-2),
    "odeint": ByOdeint,
}


def results(model: nn.Module, called: Callable[[Tensor], Tensor], x: Tensor) -> object:
    with ndecore.observe(penalties=[ndecore.GlobalError()], path_seed=0) as solves:
        output = called(x)
    (output.square().sum() + solves.weighted_penalty()).backward()
    gradients = [parameter.grad for parameter in model.parameters()]
    model.zero_grad()
    return output, solves.nfe, solves.n_steps, gradients


def compiled_models_are_solved_as_others() -> None:
    for make in BLOCKS.values():
        for backend in ("eager", "aot_eager"):
            torch._dynamo.reset()
            torch.manual_seed(0)
            model, x = nn.Sequential(nn.Linear(4, 8), make(), nn.Linear(8, 2)), torch.randn(3, 4)
            compiled = torch.compile(model, backend=backend)
            torch.testing.assert_close(results(model, compiled, x), results(model, model, x), rtol=0.0, atol=1e-6)


def compiled_fields_are_called_compiled() -> None:
    graphs: list[fx.GraphModule] = []

    def backend(graph: fx.GraphModule, example: list[Tensor]) -> Callable[..., object]:
        graphs.append(graph)
        return graph.forward

    field, y0 = Field(8), torch.randn(3, 8)
    compiled = torch.compile(field, backend=backend)
    torch.testing.assert_close(solve(compiled, y0, 0.0, 1.0).y1, solve(field, y0, 0.0, 1.0).y1)
    assert graphs


if __name__ == "__main__":
    compiled_models_are_solved_as_others()
    compiled_fields_are_called_compiled()
