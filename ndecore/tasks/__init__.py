"""Problems to train on, by name; other packages add theirs through the entry point group `ndecore.tasks`."""

from ndecore.registry import Registry

TASKS = Registry(
    "task",
    {
        "digits_node": "ndecore.tasks.digits_node:DigitsNode",
        "digits_nsde": "ndecore.tasks.digits_nsde:DigitsNSDE",
        "spiral_ode": "ndecore.tasks.spiral_ode:SpiralODE",
        "spiral_sde": "ndecore.tasks.spiral_sde:SpiralSDE",
    },
    group="ndecore.tasks",
)
STOCHASTIC = ("digits_nsde", "spiral_sde")  # those of ours whose models solve stochastic equations; Ito
