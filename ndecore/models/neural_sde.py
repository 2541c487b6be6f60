"""Neural SDEs: the papers' own, and three that are stable by their structure.

The stable ones are those of Oh, Lim, Kim, Stable Neural Stochastic Differential Equations in Analyzing Irregular Time
Series Data, ICLR 2024 (repository yongkyung-oh/Stable-Neural-SDEs). Of that work here: the three structures, drift with
and without explicit time as there, and a diffusion of time that is linear in sin t and cos t. Not here: the control
path X(t) of an irregular series, by which z in the drift is replaced with an MLP of z and X(t) (there is no series to
control); and what its code adds to make training stable, which its own comments call not faithful to the theorems: tanh
on drift and diffusion, and a factor sigmoid(theta) on the diffusion.
"""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from ndecore.brownian import BrownianPath
from ndecore.models.initialization import glorot_linear
from ndecore.terms import SDETerm
from ndecore.types import Scalar, State


class NeuralSDE(nn.Module, ABC):
    """dz = f(t, z) dt + g(t, z) dW, Ito, with one motion for each element of z [batch, n_state].

    Args:
        net: gamma(t, z), [batch, n_state] -> [batch, n_state]; of time only where the equation's drift `sees_time`.
        n_state: state size.
        generator: draws the weights of the diffusion.
    """

    sees_time: ClassVar[bool]  # whether the published drift has t as an input of its own
    is_mixing: ClassVar[bool] = False  # whether g_i depends on other elements of z than z_i

    def __init__(self, net: nn.Module, n_state: int, generator: torch.Generator) -> None:
        super().__init__()
        self.net = net
        self.noise = self.noise_layer(n_state, generator)

    @abstractmethod
    def noise_layer(self, n_state: int, generator: torch.Generator) -> nn.Linear:
        """The layer from which g is made."""

    @abstractmethod
    def drift(self, t: Scalar, z: State) -> State:
        """f(t, z), unit of z per unit of time."""

    @abstractmethod
    def diffusion(self, t: Scalar, z: State) -> State:
        """g(t, z), unit of z per root of the unit of time."""

    def along(self, path: BrownianPath) -> SDETerm:
        """The equation as it is solved, driven by one path of W."""
        return SDETerm(self.drift, self.diffusion, path, is_mixing=self.is_mixing, parameters=tuple(self.parameters()))


class NaiveSDE(NeuralSDE):
    """dz = gamma(z) dt + (W z + b) dW: a linear layer as the diffusion, as both papers have it.

    Its g_i depends on all of z, and yet drives z_i by a motion of its own. No method for diagonal noise keeps its order
    on that (SOSRI's falls from 3/2 to 1/2); the papers solve it so, hence `is_mixing`.

    Reference: P1, MNIST neural SDE and spiral SDE; P2.
    """

    sees_time: ClassVar[bool] = False
    is_mixing: ClassVar[bool] = True

    def noise_layer(self, n_state: int, generator: torch.Generator) -> nn.Linear:
        """W and b."""
        return glorot_linear(n_state, n_state, generator)

    def drift(self, t: Scalar, z: State) -> State:
        """gamma(z)."""
        return self.net(t, z)

    def diffusion(self, t: Scalar, z: State) -> State:
        """W z + b."""
        return self.noise(z)


class _TimedNoise(NeuralSDE, ABC):
    """With sigma(t) = W [sin t, cos t] + b in its diffusion, an element for each of z: the noise is diagonal."""

    def noise_layer(self, n_state: int, generator: torch.Generator) -> nn.Linear:
        """W and b of sigma."""
        return glorot_linear(2, n_state, generator)

    def sigma(self, t: Scalar) -> Tensor:
        """[n_state]."""
        return self.noise(torch.stack((t.sin(), t.cos())))


class LangevinSDE(_TimedNoise):
    """dz = gamma(z) dt + sigma(t) dW: additive noise, and no explicit time in the drift.

    Reference: Oh et al., ICLR 2024, neural LSDE; what of it is here: see the module.
    """

    sees_time: ClassVar[bool] = False

    def drift(self, t: Scalar, z: State) -> State:
        """gamma(z)."""
        return self.net(t, z)

    def diffusion(self, t: Scalar, z: State) -> State:
        """sigma(t)."""
        return self.sigma(t).expand_as(z)


class LinearNoiseSDE(_TimedNoise):
    """dz = gamma(t, z) dt + sigma(t) z dW: the noise is multiplicative, and vanishes at zero.

    Reference: Oh et al., ICLR 2024, neural LNSDE; what of it is here: see the module.
    """

    sees_time: ClassVar[bool] = True

    def drift(self, t: Scalar, z: State) -> State:
        """gamma(t, z)."""
        return self.net(t, z)

    def diffusion(self, t: Scalar, z: State) -> State:
        """sigma(t) z."""
        return self.sigma(t) * z


class GeometricSDE(_TimedNoise):
    """dz / z = gamma(t, z) dt + sigma(t) dW: no element of z changes its sign, and one that is zero stays zero.

    Reference: Oh et al., ICLR 2024, neural GSDE; what of it is here: see the module.
    """

    sees_time: ClassVar[bool] = True

    def drift(self, t: Scalar, z: State) -> State:
        """gamma(t, z) z."""
        return self.net(t, z) * z

    def diffusion(self, t: Scalar, z: State) -> State:
        """sigma(t) z."""
        return self.sigma(t) * z
