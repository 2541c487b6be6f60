"""Step size controllers, by name."""

from ndecore.registry import Registry

CONTROLLERS = Registry(
    "controller",
    {
        "i": "ndecore.controllers.integral:IController",
        "pi": "ndecore.controllers.proportional_integral:PIController",
    },
)
