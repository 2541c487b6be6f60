"""Rules by which a trial is stopped before its end, by name."""

from ndecore.registry import Registry
from studies.early_stopping.facts import RuleFacts

RULES = Registry(
    "early stopping rule",
    {
        "none": "studies.early_stopping.none:NoStopping",
        "rate": "studies.early_stopping.rate:Rate",
        "bound": "studies.early_stopping.bound:Bound",
        "median": "studies.early_stopping.median:Median",
        "successive_halving": "studies.early_stopping.successive_halving:SuccessiveHalving",
    },
    RuleFacts,
    "studies.early_stopping.base:StoppingRule",
    "studies.early_stopping",
)
