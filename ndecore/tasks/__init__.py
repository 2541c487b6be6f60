"""Problems to train on, by name; other packages add theirs through the entry point group `ndecore.tasks`."""

from ndecore.facts import TaskFacts
from ndecore.registry import Registry

TASKS = Registry(
    "task",
    {
        "cities_flow": "ndecore.tasks.cities_flow:CitiesFlow",
        "digits_node": "ndecore.tasks.digits_node:DigitsNode",
        "digits_nsde": "ndecore.tasks.digits_nsde:DigitsNSDE",
        "spiral_ode": "ndecore.tasks.spiral_ode:SpiralODE",
        "spiral_sde": "ndecore.tasks.spiral_sde:SpiralSDE",
    },
    TaskFacts,
    "ndecore.tasks.base:Task",
    "ndecore.tasks",
)
