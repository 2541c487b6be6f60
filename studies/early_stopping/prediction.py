"""Where a trial may end: what complete trials still gained from this epoch on, added to where it stands."""

from reports.pareto import Costs
from studies.early_stopping.curves import Curves

_MOST = 24  # complete trials, the last ones: more change nothing that counts


def predicted_ends(curves: Curves, number: int, epoch: int) -> Costs:
    """One end for each of the last complete trials, (n, columns) on the scale of a comparison.

    The columns are added jointly, as each of those trials changed them: a trial that became more accurate and more
    expensive predicts both. There must be one.
    """
    n_epochs = curves.n_epochs(number)
    known = curves.completed(n_epochs, epoch, _MOST)
    ends = curves.bounded(curves.at([number], epoch) + curves.at(known, n_epochs) - curves.at(known, epoch))
    curves.widen(ends.mean(axis=0, keepdims=True))
    return ends
