"""`ls`, `show` and `export` answer fast, because what they import is light."""

import subprocess
import sys

import pytest

HEAVY = ("torch", "ray", "optuna", "mlflow", "plotly", "scipy.stats", "studies", "search_spaces")


@pytest.mark.parametrize(
    "room_file", ["records", "pareto", "tables", "confirmed", "deployments", "export", "config_files"]
)
def test_what_reads_a_study_imports_nothing_heavy(room_file):
    code = f"import sys, reports.{room_file}; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("room_file", ["statistics", "figures", "load", "publish"])
def test_no_file_of_the_room_imports_what_runs_studies(room_file):
    code = f"import sys, reports.{room_file}; print([n for n in ('ray', 'optuna', 'studies') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
