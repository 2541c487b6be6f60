"""Penalties on what the solver already computes, and schedules of their weight, by name."""

from ndecore.registry import Registry

REGULARIZERS = Registry(
    "regularizer",
    {
        "none": "ndecore.regularizers.none:NoRegularizer",
        "error": "ndecore.regularizers.error:GlobalError",
        "stiffness": "ndecore.regularizers.stiffness:GlobalStiffness",
        "local_unbiased": "ndecore.regularizers.local_error:LocalError",
    },
)
SCHEDULES = Registry(
    "schedule",
    {
        "constant": "ndecore.regularizers.schedules:Constant",
        "exponential": "ndecore.regularizers.schedules:Exponential",
    },
)
