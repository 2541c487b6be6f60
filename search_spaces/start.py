"""Configs that a study proposes before it searches: published settings and the user's own."""

from collections.abc import Mapping
from dataclasses import dataclass

from search_spaces.document import Node
from search_spaces.domains import Value
from search_spaces.parameters import read_parameters
from search_spaces.penalty import clashes, missing_parameters
from search_spaces.presets import load_presets
from search_spaces.problems import Problem, did_you_mean
from search_spaces.space import Space


@dataclass(frozen=True)
class StartConfig:
    """A complete flat config to be proposed, and the name under which reports show it (empty if none was given)."""

    label: str
    config: Mapping[str, Value]


def read_start(node: Node, space: Space | None, problems: list[Problem]) -> tuple[StartConfig, ...]:
    """Return the configs listed at `node`, completed by what `space` fixes, adding problems for those outside of it.

    Without a space (one that was refused) only the entries themselves are checked.
    """
    if not isinstance(node.value, list):
        problems.append(node.problem("a list of configs"))
        return ()
    return tuple(_read_entry(child, space, problems) for child in node.children())


def _read_entry(node: Node, space: Space | None, problems: list[Problem]) -> StartConfig:
    known = len(problems)
    own = read_parameters(node, problems, other=("preset", "label"))
    preset = _read_preset(node.at("preset"), problems)
    label = node.at("label").value
    if label is None:
        label = node.at("preset").value or ""
    elif not isinstance(label, str):
        problems.append(node.at("label").problem("a text"))
    if space is None or len(problems) > known:
        return StartConfig(str(label), {})
    return StartConfig(label, _complete(node, own, preset, space, problems))


def _read_preset(node: Node, problems: list[Problem]) -> Mapping[str, Value]:
    presets = load_presets()
    if node.value is None:
        return {}
    if not isinstance(node.value, str) or node.value not in presets:
        problems.append(node.problem(", ".join(presets), remedy=did_you_mean(node.value, presets)))
        return {}
    return presets[node.value]


def _complete(
    node: Node, own: Mapping[str, Value], preset: Mapping[str, Value], space: Space, problems: list[Problem]
) -> dict[str, Value]:
    """Return the entry's whole config: its active keys, what the space fixes, and keys that the space does not have."""
    settled = space.settle({**preset, **own})
    # A preset's key that the user's own choice made inactive is dropped; one that the user wrote is a mistake.
    given = {key: value for key, value in preset.items() if key in settled or key not in space.keys} | dict(own)
    wrong = [node.at(mismatch.key).problem(mismatch.allowed, mismatch.got) for mismatch in space.problems(given)]
    config = settled | {key: value for key, value in given.items() if key not in space.keys}
    missing = missing_parameters(config, config)
    lacking = [node.at(key).problem(f"a value {reason}", "nothing") for key, reason in missing]
    clashing = [node.at(clash.key).problem(clash.allowed, clash.got) for clash in clashes(config)]
    problems.extend(wrong or lacking + clashing)
    return config
