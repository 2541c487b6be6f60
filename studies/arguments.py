"""Types of command line arguments, for subcommands and benchmarks alike."""

import argparse
import re
from collections.abc import Callable


def whole_number(lowest: int) -> Callable[[str], int]:
    """An argparse type: an integer of at least `lowest`."""

    def parse(text: str) -> int:
        if not re.fullmatch(r"\d+", text) or int(text) < lowest:
            raise argparse.ArgumentTypeError(f"got {text!r}, allowed: a whole number >= {lowest}")
        return int(text)

    return parse
