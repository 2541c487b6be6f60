"""Published settings of the regularizers, by name: partial configs, to start a study from or to compare with."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from search_spaces.document import load_document
from search_spaces.domains import Value
from search_spaces.parameters import read_parameters
from search_spaces.problems import Problem, SpecError

PRESETS_FILE = Path(__file__).with_name("presets.yaml")


@cache
def load_presets() -> Mapping[str, Mapping[str, Value]]:
    """Return every preset by its name; raise SpecError if their file has been damaged."""
    root = load_document(PRESETS_FILE).root
    problems: list[Problem] = []
    presets = {node.name: read_parameters(node, problems) for node in root.children()}
    if problems:
        raise SpecError(problems)
    return presets
