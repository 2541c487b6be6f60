"""How metrics and their values are written, in figures and tables alike."""

from ndecore.metrics import Metric

_TITLES = {
    "accuracy": "validation accuracy",
    "loss": "validation loss",
    "mse": "validation error",
    "nfe": "NFE",
    "train_s": "training time",
    "predict_s": "prediction time",
    "train_work": "training work",
}


def title(metric: Metric) -> str:
    """The metric in words; its name where nobody wrote any."""
    return _TITLES.get(metric.name, metric.name)


def on_test(words: str) -> str:
    """A title of what was measured on the test split."""
    return words.replace("validation", "test")


def title_with_unit(metric: Metric) -> str:
    """As `title`, with the unit in parentheses unless the metric is dimensionless."""
    return title(metric) if metric.unit == "1" else f"{title(metric)} ({metric.unit})"


def short_title(metric: Metric) -> str:
    """As `title_with_unit` where the unit is a letter or two: for where there is little room."""
    return title_with_unit(metric) if len(metric.unit) <= 2 else title(metric)


def value_text(metric: Metric, value: float) -> str:
    """A value without its unit, accuracy excepted, which is a percentage; four digits tell trials apart."""
    return f"{100.0 * value:.2f} %" if metric.name == "accuracy" else f"{value:.4g}"


def gap_text(solver_gap: float | None) -> str:
    """A solver gap, dimensionless; two digits say whether to trust an output."""
    return "not measured" if solver_gap is None else f"{solver_gap:.2g}"
