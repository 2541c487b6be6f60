"""Configs that a study proposes before it searches: published settings and the user's own."""

from collections.abc import Mapping
from dataclasses import dataclass

from search_spaces.consistency import clashes, missing_parameters
from search_spaces.document import Node
from search_spaces.domains import Value
from search_spaces.parameters import OWN, Vocabulary, read_parameters
from search_spaces.presets import load_presets
from search_spaces.problems import Problem, did_you_mean
from search_spaces.space import Space


@dataclass(frozen=True)
class StartConfig:
    """A complete flat config to be proposed, and the name under which reports show it (empty if none was given)."""

    label: str
    config: Mapping[str, Value]


def read_start(
    node: Node, space: Space | None, problems: list[Problem], vocabulary: Vocabulary = OWN, task: str | None = None
) -> tuple[StartConfig, ...]:
    """Return the configs listed at `node`, completed by what `space` fixes, adding problems for those outside of it.

    Without a space (one that was refused) only the entries themselves are checked.
    """
    if not isinstance(node.value, list):
        problems.append(node.problem("a list of configs"))
        return ()
    return tuple(_read_entry(child, space, problems, vocabulary, task) for child in node.children())


def _read_entry(
    node: Node, space: Space | None, problems: list[Problem], vocabulary: Vocabulary, task: str | None
) -> StartConfig:
    known = len(problems)
    own = read_parameters(node, problems, ("preset", "label"), vocabulary)
    preset = _read_preset(node.at("preset"), problems)
    label = node.at("label").value
    if label is None:
        label = node.at("preset").value or ""
    elif not isinstance(label, str):
        problems.append(node.at("label").problem("a text"))
    if space is None or len(problems) > known:
        return StartConfig(str(label), {})
    config, wrong = _completed(node, own, preset, space)
    if not wrong and not vocabulary.is_open:
        missing = missing_parameters(config, config, task)
        wrong = [node.at(key).problem(f"a value {reason}", "nothing") for key, reason in missing]
        wrong += [node.at(clash.key).problem(clash.allowed, clash.got) for clash in clashes(config, task)]
    problems.extend(wrong)
    return StartConfig(label, config)


def _read_preset(node: Node, problems: list[Problem]) -> Mapping[str, Value]:
    presets = load_presets()
    if node.value is None:
        return {}
    if not isinstance(node.value, str) or node.value not in presets:
        problems.append(node.problem(", ".join(presets), remedy=did_you_mean(node.value, presets)))
        return {}
    return presets[node.value]


def _completed(
    node: Node, own: Mapping[str, Value], preset: Mapping[str, Value], space: Space
) -> tuple[dict[str, Value], list[Problem]]:
    """Return the entry's whole config, its active keys, what the space fixes, keys beyond; and what is wrong."""
    settled = space.settle({**preset, **own})
    # A preset's key that the user's own choice made inactive is dropped; one that the user wrote is a mistake.
    given = {key: value for key, value in preset.items() if key in settled or key not in space.keys} | dict(own)
    wrong = [node.at(mismatch.key).problem(mismatch.allowed, mismatch.got) for mismatch in space.problems(given)]
    config = settled | {key: value for key, value in given.items() if key not in space.keys}
    return config, wrong
