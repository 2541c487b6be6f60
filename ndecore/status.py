"""How a solve ended; each status carries its sentence and its remedy."""

from enum import Enum


class Status(Enum):
    """The end of a solve: `sentence` says what happened, `remedy` what to do about it."""

    SUCCESS = ("the solve reached t1", "nothing to do")
    STEP_UNDERFLOW = (
        "the step size fell below the resolution of time",
        "loosen rtol and atol, use float64, or regularize the vector field: it is too stiff or discontinuous",
    )
    PATH_UNDERFLOW = (
        "the step size fell below the resolution of the Brownian path",
        "make the path finer (BrownianTree(..., levels=30)), or loosen rtol and atol",
    )
    NON_FINITE = (
        "the state or the vector field became NaN or infinite",
        "check the vector field and its inputs; lower the learning rate or bound the field (tanh) if it grew",
    )
    MAX_STEPS = (
        "the solve took max_steps attempts without reaching t1",
        "raise max_steps, loosen rtol and atol, or regularize the vector field",
    )

    @property
    def sentence(self) -> str:
        """What happened."""
        return self.value[0]

    @property
    def remedy(self) -> str:
        """What to do about it."""
        return self.value[1]
