"""A task to start from, and a study that suits a task: texts of files."""

from pathlib import Path

from ndecore.metrics import COSTS
from ndecore.tasks import TASKS
from ndecore.tasks.base import Task
from studies.filling import filled

_DECADE = 10.0
# Regularizer -> range of its weight, as in search_spaces/regularized_ode.yaml.
_ORDINARY = {"error": "1, 1000", "predicted_steps": "0.003, 3", "local_error": "0.1, 10000"}
_STOCHASTIC = {"error": "0.1, 100", "local_error": "0.01, 100"}
_RANGE_OF_RTOL = {None: (1.0, 1e3), "ito": (0.1, 2.0)}  # by calculus: of the task's tolerance


def task_file(path: Path) -> str:
    """The text of a task that runs as it stands, to be written at `path`."""
    words = {
        "NAME": path.stem,
        "FILE": path.name,
        "STUDY": path.with_suffix(".yaml").name,
        "CLASS": "".join(part.capitalize() for part in path.stem.split("_")),
    }
    return filled("task.py.txt", words)


def suggested_study(path: Path) -> str:
    """The text of a study of the task in a file, its space suggested from the task's defaults.

    Raises:
        InputError: the file holds no task.
    """
    task: type[Task] = TASKS[str(path)]
    weights = _ORDINARY if task.calculus is None else _STOCHASTIC
    defaults, tolerance = task.defaults, task.tolerance
    low, high = (factor * tolerance for factor in _RANGE_OF_RTOL[task.calculus])
    words = {
        "FILE": path.name,
        "TASK": path.name,
        "STUDY": path.with_suffix(".yaml").name,
        "STUDY_NAME": path.stem,
        "METRICS": ", ".join(metric.name for metric in task.metrics),
        "OBJECTIVE": task.metrics[0].name,
        "COSTS": ", ".join(COSTS),
        "OPTIMIZER": defaults.optimizer,
        "RATE": _number(defaults.learning_rate),
        "TOLERANCE": _number(tolerance),
        "REGULARIZERS": ", ".join(["none", *weights]),
        "WEIGHTS": "\n".join(
            f"    - {{log_float: [{span}], when: {{regularizer: {name}}}}}" for name, span in weights.items()
        ),
        "RTOL": f"{_number(low)}, {_number(high)}",
        "RATES": f"{_number(defaults.learning_rate / _DECADE)}, {_number(3 * defaults.learning_rate)}",
    }
    return filled("study.yaml.txt", words)


def _weight(regularizer: str, span: str) -> str:
    return f"    - {{log_float: [{span}], when: {{regularizer: {regularizer}}}}}"


def _number(value: float) -> str:
    return f"{value:.3g}"
