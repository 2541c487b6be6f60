"""Step size controllers, by name."""

from ndecore.facts import ControllerFacts
from ndecore.registry import Registry

CONTROLLERS = Registry(
    "controller",
    {
        "i": "ndecore.controllers.integral:IController",
        "pi": "ndecore.controllers.proportional_integral:PIController",
        "pid": "ndecore.controllers.proportional_integral_derivative:PIDController",
        "constant": "ndecore.controllers.constant:ConstantStep",
    },
    ControllerFacts,
    "ndecore.controllers.base:Controller",
    "ndecore.controllers",
)
