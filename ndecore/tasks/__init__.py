"""Problems to train on, by name; other packages add theirs through the entry point group `ndecore.tasks`."""

from ndecore.registry import Registry

TASKS = Registry(
    "task",
    {
        "digits_node": "ndecore.tasks.digits_node:DigitsNode",
        "spiral_ode": "ndecore.tasks.spiral_ode:SpiralODE",
    },
    group="ndecore.tasks",
)
