"""Figures as parts of a page."""

from plotly.offline import get_plotlyjs

from reports.figures.style import Figure


def as_json(figure: Figure) -> str:
    """The figure as JSON that ends no script, whatever its texts are."""
    text: str = figure.to_json()
    return text.replace("<", "\\u003c")


def drawing_script() -> str:
    """The JavaScript that draws figures, for a page that needs nothing from the internet: 4.6 MB."""
    script: str = get_plotlyjs()
    return script
