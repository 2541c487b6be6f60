"""Neural differential equation blocks and the models built from them; the stochastic ones by name."""

from ndecore.facts import NoFacts
from ndecore.registry import Registry

SDES = Registry(
    "neural SDE",
    {
        "naive": "ndecore.models.neural_sde:NaiveSDE",
        "langevin": "ndecore.models.neural_sde:LangevinSDE",
        "linear_noise": "ndecore.models.neural_sde:LinearNoiseSDE",
        "geometric": "ndecore.models.neural_sde:GeometricSDE",
    },
    NoFacts,
    "ndecore.models.neural_sde:NeuralSDE",
    "ndecore.sdes",
)
