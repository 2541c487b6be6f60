"""The rule of a study, made from its spec."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ndecore.hyperparameters import last_epoch
from search_spaces.member_names import located
from studies.early_stopping import RULES
from studies.early_stopping.base import StoppingRule
from studies.early_stopping.curves import Aims
from studies.early_stopping.judge import Judge
from studies.spec import StudySpec


def rule_of(spec: StudySpec, folder: Path) -> StoppingRule:
    """The rule of a study in a folder."""
    made: StoppingRule = RULES[located(spec.early_stopping.rule, folder)](**spec.early_stopping.keys)
    return made


def judge_of(spec: StudySpec, folder: Path) -> Judge:
    """Its judge, who has seen nothing yet."""
    aims = Aims(spec.objective_metrics, spec.solver_gap_bound, spec.metric_thresholds)
    return Judge(spec.early_stopping.rule, rule_of(spec, folder), aims)


def gap_epochs(spec: StudySpec, config: Mapping[str, Any], folder: Path) -> tuple[int, ...]:
    """The epochs before the last after which a worker estimates the solver gap of a trial of this config."""
    if spec.epoch_gaps:
        return tuple(range(1, last_epoch(config)))
    rule = rule_of(spec, folder)
    return tuple(rule.looks_at(last_epoch(config))) if rule.needs_gap else ()
