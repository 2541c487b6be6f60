"""The solves inside any model, observed: what they cost, their error and stiffness, and penalties on them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

import torch
from torch import Tensor

from ndecore.autocast import outside_autocast
from ndecore.errors import InputError
from ndecore.integrate import SolveSettings
from ndecore.observing import DrawnSeed, Grid, Look, Observer, SettingsRule, Wishes, unobserved
from ndecore.regularizers.base import PenaltyContext, Regularizer
from ndecore.regularizers.recorded import RecordedPenalty, check_gradients
from ndecore.regularizers.schedules import Moment, Seen
from ndecore.regularizers.weighted import Session, Weighted
from ndecore.solution import Solution
from ndecore.terms import Counts, ODETerm, SDETerm, Term
from ndecore.types import PerPenalty, PerStep, Scalar


@dataclass(frozen=True)
class Solve:
    """One solve that was observed."""

    term: ODETerm | SDETerm  # has counted the evaluations, those of local penalties included
    grid: Grid  # t0, the output times of the caller in between, and t1
    settings: SolveSettings  # by which it was made
    solution: Solution  # at all times that penalties wished for too, moved ones included; a structured y0 is a vector
    n_taped: int  # evaluations by the solve with gradients enabled
    session: Session

    @property
    def context(self) -> PenaltyContext:
        """As a penalty sees it that was not prepared for."""
        return PenaltyContext(self.term, self.settings, self.solution, Wishes(self.grid))

    def penalties(self) -> PerPenalty:
        """Each penalty that was prepared for, before its weight: [penalties], dimensionless."""
        # A local penalty evaluates the field, which may solve something itself, and its algebra is as a solve's.
        with unobserved(), outside_autocast(self.solution.records.error.device):
            return self.session.penalties(self.term, self.settings, self.solution)


class Solves(Observer, Sequence[Solve]):
    """The solves inside `observe`, in order; sums and records over all of them.

    Not to be made by a caller: `with observe() as solves`.
    """

    def __init__(
        self,
        settings: SettingsRule | None,
        weighted: Sequence[Weighted],
        generator: torch.Generator,
        path_seed: int | None,
        differentiable: bool,
    ) -> None:
        self.settings = settings
        self.weights: list[float] = []  # of the penalties, once `weighted_penalty` has been asked
        self._weighted, self._generator, self._path_seed = tuple(weighted), generator, path_seed
        self._differentiable, self._n_paths = differentiable, 0
        self._solves: list[Solve] = []
        self._counts: dict[int, tuple[Counts, int, int, int]] = {}  # of each term, and what they were at first
        self._penalties: PerPenalty | None = None
        self._added: Scalar | None = None

    def __len__(self) -> int:
        return len(self._solves)

    @overload
    def __getitem__(self, i: int) -> Solve: ...
    @overload
    def __getitem__(self, i: slice) -> Sequence[Solve]: ...
    def __getitem__(self, i: int | slice) -> Solve | Sequence[Solve]:
        """A solve, in the order in which they ended."""
        return self._solves[i]

    @property
    def nfe(self) -> int:
        """Evaluations of the vector fields, rejected steps and initial-step probes included; of drifts, not diffusions.

        Those of local penalties are not among them: no model makes them at prediction.
        """
        return sum(each.solution.stats.n_evaluations for each in self._solves)

    @property
    def n_evaluations(self) -> int:
        """Evaluations of the vector fields, those of local penalties included."""
        return sum(counts.n_evaluations - before for counts, before, _, _ in self._counts.values())

    @property
    def nfe_diffusion(self) -> int:
        """Evaluations of diffusions."""
        return sum(each.solution.stats.n_diffusion_evaluations for each in self._solves)

    @property
    def n_steps(self) -> int:
        """Accepted steps."""
        return sum(each.solution.stats.n_accepted for each in self._solves)

    @property
    def n_rejected(self) -> int:
        """Rejected steps."""
        return sum(each.solution.stats.n_rejected for each in self._solves)

    @property
    def work(self) -> int:
        """Evaluations, and those that are differentiated once more: of solves, penalties and, after it, backward()."""
        of_solves = sum(min(each.solution.stats.n_differentiated, each.n_taped) - each.n_taped for each in self._solves)
        return of_solves + sum(
            (counts.n_evaluations - evaluated) + (counts.n_taped - taped) + 2 * (counts.n_replayed - replayed)
            for counts, evaluated, taped, replayed in self._counts.values()
        )

    @property
    def error(self) -> PerStep:
        """Rms of the raw error estimate of each accepted step, unit of y; with gradients if they were asked for."""
        return self._records("error")

    @property
    def error_ratio(self) -> PerStep:
        """Tolerance-scaled error of each accepted step, dimensionless."""
        return self._records("error_ratio")

    @property
    def stiffness(self) -> PerStep:
        """Estimate of the largest |eigenvalue| of the Jacobian in each accepted step, 1/time."""
        return self._records("stiffness")

    @property
    def dt(self) -> PerStep:
        """Each accepted step, float64 on the host; negative backwards in time."""
        return self._records("dt")

    @property
    def penalties(self) -> PerPenalty:
        """Each penalty that `observe` was given, before its weight: [penalties], dimensionless, summed over the solves.

        Raises:
            InputError: no solve was made inside.
        """
        if self._penalties is None:
            self._check_any()
            parts = [each.penalties() for each in self._solves]
            self._penalties = parts[0] if len(parts) == 1 else torch.stack(parts).sum(dim=0)
        return self._penalties

    def penalty(self, regularizer: Regularizer) -> Scalar:
        """R summed over the solves, dimensionless: of a penalty that `observe` was given, or of a global one.

        Raises:
            InputError: no solve was made inside; the penalty has to be known before the solve; the solve was not asked
                for differentiable records.
        """
        known = [each.regularizer for each in self._weighted]
        if regularizer in known:
            return self.penalties[known.index(regularizer)]
        self._check_any()
        if isinstance(regularizer, RecordedPenalty):
            return regularizer.penalty(self)
        if type(regularizer).prepare is not Regularizer.prepare:
            raise InputError(
                f"penalty: got {type(regularizer).__name__}, which has to be known before the solve, allowed: "
                "observe(penalties=[...]) with it, and then `penalties` or this"
            )
        if regularizer.needs_differentiable_records:
            for each in self._solves:
                check_gradients(regularizer, each.solution)
        return torch.stack([regularizer.penalty(each.context) for each in self._solves]).sum()

    def weighted_penalty(self, *, step: int = 0, n_steps: int = 0, epoch: int = 0, n_epochs: int = 0) -> Scalar:
        """sum_i lambda_i R_i, to be added to the loss; a bare regularizer has weight 1.

        The schedules then have seen this training step: ask once for each. The next call returns the same.

        Args:
            step: steps completed, over all epochs; for a schedule whose pace is "step".
            n_steps: of the training in all.
            epoch: epochs completed; for a schedule whose pace is "epoch".
            n_epochs: of the training in all.

        Raises:
            InputError: no solve was made inside; a schedule needs to know how long the training is.
        """
        if self._added is None:
            moment = Moment(epoch, n_epochs, step, n_steps)
            penalties = self.penalties
            self.weights = [each.weight(moment) for each in self._weighted]
            for each, weight, value in zip(self._weighted, self.weights, penalties.tolist(), strict=True):
                each.remember(Seen(weight, self.nfe, value))
            self._added = penalties.dot(penalties.new_tensor(self.weights))
        return self._added

    def begin(self, grid: Grid, term: Term, settings: SolveSettings) -> Look:
        """See `Observer.begin`."""
        for each in self._weighted:
            each.check(settings)
        regularizers = [each.regularizer for each in self._weighted]
        return _Look(self, grid, settings, Session(regularizers, grid, self._generator), term.counts)

    def draw_path(self) -> DrawnSeed | None:
        """See `Observer.draw_path`."""
        if self._path_seed is None:
            return None
        self._n_paths += 1
        return DrawnSeed(self._path_seed, self._n_paths - 1)

    def wishes(self, session: Session) -> Wishes:
        """What is wanted of a solve beside what its penalties want."""
        own = session.wishes
        if not self._differentiable or own.differentiable_records:
            return own
        return Wishes(own.grid, own.times, True, own.watch, own.running_cost)

    def count_from(self, counts: Counts) -> None:
        """Count the work of a term from now on."""
        now = counts.n_evaluations, counts.n_taped, counts.n_replayed
        self._counts.setdefault(id(counts), (counts, *now))

    def add(self, solve: Solve) -> None:
        """Take in a finished solve."""
        self._solves.append(solve)
        self._penalties = self._added = None

    def _check_any(self) -> None:
        if not self._solves:
            raise InputError(
                "observe: no solve was made inside, allowed: at least one by ndecore; call the model inside of the "
                "`with` block, in the same thread"
            )

    def _records(self, name: str) -> Tensor:
        found = [getattr(each.solution.records, name) for each in self._solves]
        return torch.cat(found) if found else torch.zeros(0)


class _Look(Look):
    """One look of `Solves` at one solve."""

    def __init__(self, solves: Solves, grid: Grid, settings: SolveSettings, session: Session, counts: Counts) -> None:
        self._solves, self._grid, self._settings, self._session = solves, grid, settings, session
        self._taped_before = counts.n_taped
        solves.count_from(counts)
        self.wishes, self.has_penalties = solves.wishes(session), session.has_penalties

    def end(self, term: Term, solution: Solution) -> None:
        """See `Look.end`."""
        assert isinstance(term, ODETerm | SDETerm), "what is observed is the equation without running costs"
        n_taped = term.n_taped - self._taped_before
        self._solves.add(Solve(term, self._grid, self._settings, solution, n_taped, self._session))
