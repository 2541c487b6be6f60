"""Tensor aliases with named axes, checked at run time in the tests."""

from collections.abc import Callable
from typing import Any, Literal, TypeAlias

from jaxtyping import Float, Int
from torch import Tensor

Scalar: TypeAlias = Float[Tensor, ""]
State: TypeAlias = Float[Tensor, "*state"]  # the solution at one time, any shape
Carry: TypeAlias = Float[Tensor, "..."]  # what a step leaves for the next; see `StepResult`
States: TypeAlias = Float[Tensor, "times *state"]  # noqa: F821 - the solution at several times
PerStep: TypeAlias = Float[Tensor, " steps"]  # one value per accepted step
PerPenalty: TypeAlias = Float[Tensor, " penalties"]
Images: TypeAlias = Float[Tensor, "batch pixels"]
Logits: TypeAlias = Float[Tensor, "batch classes"]
Labels: TypeAlias = Int[Tensor, " batch"]

StateTree: TypeAlias = Any  # a State, or tuples, lists and dicts of such

VectorField: TypeAlias = Callable[[Tensor, Tensor], Tensor]  # (t: Scalar, y: State) -> dy/dt: State

Noise: TypeAlias = Literal["diagonal", "scalar", "additive", "general"]  # see `ndecore.terms.SDETerm`
Calculus: TypeAlias = Literal["ito", "stratonovich"]
