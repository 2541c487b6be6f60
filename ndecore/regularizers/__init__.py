"""Penalties that make a model cheaper to solve, and schedules of their weight, by name."""

from ndecore.facts import RegularizerFacts, ScheduleFacts
from ndecore.registry import Registry

REGULARIZERS = Registry(
    "regularizer",
    {
        "none": "ndecore.regularizers.none:NoRegularizer",
        "error": "ndecore.regularizers.error:GlobalError",
        "predicted_steps": "ndecore.regularizers.predicted_steps:PredictedSteps",
        "stiffness": "ndecore.regularizers.stiffness:GlobalStiffness",
        "local_error": "ndecore.regularizers.local_error:LocalError",
        "local_stiffness": "ndecore.regularizers.local_stiffness:LocalStiffness",
        "steer": "ndecore.regularizers.steer:STEER",
        "taynode": "ndecore.regularizers.taynode:TayNODE",
        "rnode": "ndecore.regularizers.rnode:RNODE",
        "tpr": "ndecore.regularizers.tpr:TPR",
    },
    RegularizerFacts,
    "ndecore.regularizers.base:Regularizer",
    "ndecore.regularizers",
)
SCHEDULES = Registry(
    "schedule",
    {
        "constant": "ndecore.regularizers.schedules:Constant",
        "exponential": "ndecore.regularizers.schedules:Exponential",
        "linear": "ndecore.regularizers.schedules:Linear",
        "warmup": "ndecore.regularizers.schedules:WarmUp",
        "dual_ascent": "ndecore.regularizers.schedules:DualAscent",
    },
    ScheduleFacts,
    "ndecore.regularizers.schedules:Schedule",
    "ndecore.schedules",
)
