"""What a check of a task finds. Without torch, for whoever only reads it."""

from dataclasses import dataclass

from ndecore.errors import InputError


class Wrong(InputError):
    """Something in a task that has to be changed; the message says what and how."""


@dataclass(frozen=True)
class Found:
    """What one part of a check found.

    Args:
        what: was looked at.
        told: what there is, in one line.
        is_doubtful: whether it works but is likely a mistake.
    """

    what: str
    told: str
    is_doubtful: bool = False
