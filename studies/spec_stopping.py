"""What a spec says of early stopping: a rule and its keys."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ndecore.errors import InputError
from ndecore.keys import Value
from search_spaces.document import Node
from search_spaces.parameters import located_data
from search_spaces.problems import Problem, did_you_mean
from studies.early_stopping import RULES

STOPPING_ALLOWED = f"a rule, {RULES.allowed}; or a mapping of rule to one, and its own keys"
_RULE = "rule"


@dataclass(frozen=True)
class RuleChoice:
    """The rule by which a study stops trials early.

    Args:
        rule: a name in `RULES`, a file's by its whole path, or below the study's folder.
        keys: its own.
    """

    rule: str
    keys: Mapping[str, Value] = field(default_factory=dict)


NO_STOPPING = RuleChoice("none")


def read_rule(node: Node, problems: list[Problem], is_stored: bool) -> RuleChoice:
    """Return the rule at a node, adding problems for what is wrong; none where nothing stands there."""
    if node.value is None:
        return NO_STOPPING
    data: Any = located_data(node.value, node.document)
    given: Mapping[str, Any] = data if isinstance(data, dict) else {_RULE: data}
    rule, keys = given.get(_RULE), {key: value for key, value in given.items() if key != _RULE}
    if not isinstance(rule, str) or not (is_stored or rule in RULES):
        problems.append(node.problem(STOPPING_ALLOWED, remedy=did_you_mean(rule, RULES)))
        return NO_STOPPING
    if is_stored:
        return RuleChoice(rule, keys)
    try:
        known = RULES.keys_of(rule)
        RULES.facts(rule)
    except InputError as error:  # of the rule's own file or package
        problems.append(node.problem("a rule that loads", remedy=str(error)))
        return NO_STOPPING
    read: dict[str, Value] = {}
    for name, given_value in keys.items():
        if name not in known:
            allowed = ", ".join((_RULE, *known))
            problems.append(node.at(name).problem(allowed, f"the unknown key {name!r}", did_you_mean(name, known)))
        elif (value := known[name].check(given_value)) is None:
            problems.append(node.at(name).problem(known[name].allowed))
        else:
            read[name] = value
    return RuleChoice(rule, read)
