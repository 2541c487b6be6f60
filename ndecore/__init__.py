"""Differential equation solvers for PyTorch that expose their error and stiffness estimates, and regularizers on them.

    import ndecore
    solution = ndecore.solve(field, y0, 0.0, 1.0, differentiable_records=True)
    loss = task_loss(solution.y1) + 100.0 * (solution.records.error_ratio * solution.records.dt).mean()

Names are loaded when first used, so that the registries can be read without importing torch.
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "solve": "ndecore.solving",
    "solve_sde": "ndecore.solving",
    "ODETerm": "ndecore.terms",
    "SDETerm": "ndecore.terms",
    "BrownianTree": "ndecore.brownian",
    "ForeignPath": "ndecore.brownian",
    "SolveSettings": "ndecore.integrate",
    "Solution": "ndecore.solution",
    "Status": "ndecore.status",
    "RoundingWarning": "ndecore.errors",
    "UnstableGradientWarning": "ndecore.errors",
    "Euler": "ndecore.solvers.euler",
    "Midpoint": "ndecore.solvers.midpoint",
    "RK4": "ndecore.solvers.rk4",
    "Heun": "ndecore.solvers.heun",
    "Bosh3": "ndecore.solvers.bosh3",
    "Tsit5": "ndecore.solvers.tsit5",
    "Dopri5": "ndecore.solvers.dopri5",
    "DOP853": "ndecore.solvers.dop853",
    "SOSRI": "ndecore.solvers.sosri",
    "SOSRI2": "ndecore.solvers.sosri2",
    "Milstein": "ndecore.solvers.milstein",
    "EulerMaruyama": "ndecore.solvers.euler_maruyama",
    "EulerHeun": "ndecore.solvers.euler_heun",
    "ReversibleHeun": "ndecore.solvers.reversible_heun",
    "IController": "ndecore.controllers.integral",
    "PIController": "ndecore.controllers.proportional_integral",
    "PIDController": "ndecore.controllers.proportional_integral_derivative",
    "ConstantStep": "ndecore.controllers.constant",
    "StepTo": "ndecore.controllers.step_to",
    "Tape": "ndecore.integrate",
    "Checkpointed": "ndecore.adjoints.checkpointed",
    "Interpolating": "ndecore.adjoints.interpolating",
    "Torchdiffeq": "ndecore.adjoints.torchdiffeq",
    "TorchdiffeqAdjoint": "ndecore.adjoints.torchdiffeq",
    "Torchsde": "ndecore.adjoints.torchsde",
    "TorchsdeAdjoint": "ndecore.adjoints.torchsde",
    "NoRegularizer": "ndecore.regularizers.none",
    "GlobalError": "ndecore.regularizers.error",
    "GlobalStiffness": "ndecore.regularizers.stiffness",
    "LocalError": "ndecore.regularizers.local_error",
    "LocalStiffness": "ndecore.regularizers.local_stiffness",
    "PredictedSteps": "ndecore.regularizers.predicted_steps",
    "STEER": "ndecore.regularizers.steer",
    "TayNODE": "ndecore.regularizers.taynode",
    "RNODE": "ndecore.regularizers.rnode",
    "TPR": "ndecore.regularizers.tpr",
    "Weighted": "ndecore.regularizers.weighted",
    "Constant": "ndecore.regularizers.schedules",
    "Exponential": "ndecore.regularizers.schedules",
    "Linear": "ndecore.regularizers.schedules",
    "WarmUp": "ndecore.regularizers.schedules",
    "DualAscent": "ndecore.regularizers.schedules",
    "observe": "ndecore.observation",
    "penalty": "ndecore.observation",
    "Solves": "ndecore.solves",
    "NeuralODE": "ndecore.blocks",
    "NeuralSDE": "ndecore.blocks",
    "odeint": "ndecore.dropin",
    "odeint_adjoint": "ndecore.dropin",
    "odeint_event": "ndecore.dropin",
    "sdeint": "ndecore.dropin_sde",
    "sdeint_adjoint": "ndecore.dropin_sde",
    "Task": "ndecore.tasks.base",
    "Classification": "ndecore.tasks.base",
    "Splits": "ndecore.datasets.base",
    "Hyperparameters": "ndecore.hyperparameters",
    "Metric": "ndecore.metrics",
    "Direction": "ndecore.metrics",
    "Moment": "ndecore.regularizers.schedules",
    "train": "ndecore.training",
    "TrainPlan": "ndecore.training",
    "TrainState": "ndecore.training",
}
__all__ = sorted(_HOMES)  # noqa: PLE0605 - computed, from the table above


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'ndecore' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
