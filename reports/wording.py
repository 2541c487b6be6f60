"""How metrics and their values are written, in figures and tables alike."""

from ndecore.metrics import COSTS, Metric


def title(metric: Metric) -> str:
    """The metric in words: a cost as it is, a score as one of the validation split."""
    words = metric.title or metric.name
    return words if metric.name in COSTS else f"validation {words}"


def on_test(words: str) -> str:
    """A title of what was measured on the test split."""
    return words.replace("validation", "test")


def title_with_unit(metric: Metric) -> str:
    """As `title`, with the unit in parentheses unless the metric is dimensionless or names none."""
    return title(metric) if metric.unit in ("1", "") else f"{title(metric)} ({metric.unit})"


def short_title(metric: Metric) -> str:
    """As `title_with_unit` where the unit is a letter or two: for where there is little room."""
    return title_with_unit(metric) if len(metric.unit) <= 2 else title(metric)


def value_text(metric: Metric, value: float) -> str:
    """A value without its unit, a share in per cent; four digits tell trials apart."""
    return f"{100.0 * value:.2f} %" if metric.is_share else f"{value:.4g}"


def difference_text(metric: Metric, difference: float) -> str:
    """A signed difference of two values; of shares in percentage points."""
    return f"{100.0 * difference:+.2f} points" if metric.is_share else f"{difference:+.3g}"


def setting_text(setting: object) -> str:
    """The value of a config's key in a few characters."""
    return f"{setting:.4g}" if isinstance(setting, float) else str(setting)


def gap_text(solver_gap: float | None) -> str:
    """A solver gap, dimensionless; two digits say whether to trust an output."""
    return "not measured" if solver_gap is None else f"{solver_gap:.2g}"


def printable(text: str) -> str:
    """A text that somebody else has written, without what a terminal would obey: escapes are shown, not sent."""
    return "".join(c if c.isprintable() or c in "\n\t" else f"\\x{ord(c):02x}" for c in text)
