"""The few errors that ndecore raises at a caller's mistake, or where the caller asked a failed solve to raise."""


class NDEError(Exception):
    """Root of every error of this project."""


class InputError(NDEError, ValueError):
    """The caller passed something that is not allowed; the message says what was got, what is allowed, what to do."""


class SolveFailed(NDEError, ArithmeticError):
    """A solve ended early and the caller had asked it to raise (`throw=True`)."""


class TrainingDiverged(NDEError, ArithmeticError):
    """Training met a number that is not finite; the message says where and what to change."""


class NDEWarning(UserWarning):
    """Root of every warning of this project: a number was computed, and is not to be trusted."""


class RoundingWarning(NDEWarning):
    """An estimate lies below the rounding of its numbers; it and its gradient are noise."""


class UnstableGradientWarning(NDEWarning):
    """A gradient passes through steps that stability limits; it may be wrong where the solution is right."""
