"""The spaces that come with the package, by name, and those of the user's, by path."""

from pathlib import Path

from search_spaces.document import Node, load_document
from search_spaces.parameters import OWN, Vocabulary
from search_spaces.parse import read_space
from search_spaces.presets import PRESETS_FILE
from search_spaces.problems import Problem, SpecError, did_you_mean
from search_spaces.space import Space

_FOLDER = Path(__file__).parent
YAML_SUFFIXES = (".yaml", ".yml")


def shipped_spaces() -> tuple[str, ...]:
    """Return the names of the spaces that come with the package, sorted."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.yaml") if path.name != PRESETS_FILE.name))


def load_space(name_or_path: str, vocabulary: Vocabulary = OWN) -> Space:
    """Return a shipped space by its name, or the space in a YAML file; raise SpecError with everything wrong in it."""
    path = name_or_path if name_or_path.endswith(YAML_SUFFIXES) else str(_FOLDER / f"{name_or_path}.yaml")
    if path != name_or_path and name_or_path not in shipped_spaces():
        allowed = f"{', '.join(shipped_spaces())}, or a path ending in .yaml"
        remedy = did_you_mean(name_or_path, shipped_spaces())
        raise SpecError([Problem(name_or_path, None, "", "no shipped space of this name", allowed, remedy)])
    problems: list[Problem] = []
    space = read_space(load_document(path).root, problems, vocabulary)
    if space is None:
        raise SpecError(problems)
    return space


def read_space_reference(node: Node, problems: list[Problem], vocabulary: Vocabulary = OWN) -> Space | None:
    """Return the space that a spec names, points at from its own folder, or holds; None, and more problems, if none."""
    reference = node.value
    if isinstance(reference, dict):
        return read_space(node, problems, vocabulary)
    if isinstance(reference, str) and reference.endswith(YAML_SUFFIXES):
        path = Path(node.document.path).parent / reference
        if not path.is_file():
            problems.append(
                node.problem("the path of a YAML file, from this one's folder", got=f"{path}, which is no file")
            )
            return None
        reference = str(path)
    elif reference not in shipped_spaces():
        allowed = f"{', '.join(shipped_spaces())}, a path ending in .yaml, or a mapping"
        problems.append(node.problem(allowed, remedy=did_you_mean(reference, shipped_spaces())))
        return None
    try:
        return load_space(reference, vocabulary)
    except SpecError as error:
        problems.extend(error.problems)
        return None
