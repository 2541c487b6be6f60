"""Which trials run on and which are stopped early. Made from the ledger, so that a resumed study decides the same."""

from collections.abc import Callable, Mapping

from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from studies.ledger import Ledger

SCHEDULERS: Mapping[str, Callable[[Ledger], TrialScheduler]] = {
    "fifo": lambda ledger: FIFOScheduler(),  # every trial to its end, in the order of their numbers
}
