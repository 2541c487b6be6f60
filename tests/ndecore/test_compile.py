"""Solves and torch.compile, in a process of its own: the tests' type checks are no code that it compiles."""

import subprocess
import sys
from pathlib import Path


def test_solves_work_inside_compiled_models_and_with_compiled_fields() -> None:
    program = Path(__file__).with_name("compiled_models.py")
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
