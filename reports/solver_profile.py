"""How the solver goes through a trained model, step by step: plain data, measured elsewhere."""

from dataclasses import dataclass


@dataclass(frozen=True)
class SolverProfile:
    """One solve of a held-out batch by a trial's trained weights, at its own tolerances."""

    trial: int
    role: str  # "knee", "vanilla"
    n_evaluations: int  # of the vector field, rejected steps and the initial-step probe included
    n_rejected: int  # steps
    t: tuple[float, ...]  # start of each accepted step
    dt: tuple[float, ...]  # its size, in the unit of t
    error_ratio: tuple[float, ...]  # dimensionless, tolerance-scaled, at most 1
    stiffness: tuple[float, ...]  # estimate of the largest |eigenvalue| of the Jacobian, 1/time
