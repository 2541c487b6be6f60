"""Types of command line arguments, for subcommands and benchmarks alike."""

import argparse
import math
import re
from collections.abc import Callable

TOLERANCES_ALLOWED = "numbers > 0 with commas, as 1e-6,1e-4, or decades, as 1e-8..1e-1"


def whole_number(lowest: int) -> Callable[[str], int]:
    """An argparse type: an integer of at least `lowest`."""

    def parse(text: str) -> int:
        if not re.fullmatch(r"\d+", text) or int(text) < lowest:
            raise argparse.ArgumentTypeError(f"got {text!r}, allowed: a whole number >= {lowest}")
        return int(text)

    return parse


def matching(pattern: str, allowed: str) -> Callable[[str], str]:
    """An argparse type: a text of this pattern, which `allowed` tells in words."""

    def parse(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise argparse.ArgumentTypeError(f"got {text!r}, allowed: {allowed}")
        return text

    return parse


def tolerances(text: str) -> tuple[float, ...]:
    """An argparse type: `1e-6,1e-4`, or `1e-8..1e-1`: from decade to decade, both ends included."""
    try:
        if ".." in text:
            low, high = map(float, text.split(".."))
            n_decades = math.log10(high / low)
            found = [low * 10.0**i for i in range(math.ceil(n_decades - 1e-9))] + [high]
            found = [float(f"{value:.12g}") for value in found]  # 1e-07, not 1.0000000000000001e-07
            is_allowed = low < high
        else:
            found = [float(part) for part in text.split(",")]
            is_allowed = True
    except (ValueError, ZeroDivisionError):
        found, is_allowed = [], False
    if not (found and is_allowed and all(0.0 < value < math.inf for value in found)):
        raise argparse.ArgumentTypeError(f"got {text!r}, allowed: {TOLERANCES_ALLOWED}")
    return tuple(dict.fromkeys(found))


def names(text: str) -> tuple[str, ...]:
    """An argparse type: names with commas, each once."""
    return tuple(dict.fromkeys(part.strip() for part in text.split(",")))
