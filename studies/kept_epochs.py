"""The weights of epochs on the anytime front: their checkpoints are kept, and removed when they leave it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from reports.anytime import Moment, members_among
from reports.records import StudyRecord, TrialRecord, TrialStatus
from studies.history import OPEN, Saved
from studies.trial_files import EPOCH_FILES, epoch_file, trial_folder

_TO_GO_ON = 2  # last checkpoints of a trial that a rule stopped: it may be taken up again

Checkpoints = Mapping[int, Sequence[Saved]]  # by trial


class KeptEpochs:
    """Sifts the checkpoints of each trial when it ends. What it knows it finds on the disk again.

    Args:
        folder: of the study.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._front: frozenset[Moment] | None = None  # of the trials that have ended

    def sift(self, study: StudyRecord, trial: TrialRecord, checkpoints: Checkpoints) -> dict[int, Path]:
        """Remove what the trial has driven off the front.

        Args:
            study: as it stands, with the trial, which has ended.
            trial: that has ended, or that a rule has stopped.
            checkpoints: that were written.

        Returns:
            The checkpoints of the trial that are to be kept, by their epochs.
        """
        number = trial.number
        if not checkpoints.get(number):  # as in a simulation: nothing of it can be kept
            if self._front is not None and trial.epochs:
                self._front |= {(number, trial.epochs[-1].epoch)}
            return {}
        if self._front is None:
            self._front = self._found(study, checkpoints)
        others = frozenset(each for each in self._front if each[0] != number)
        own = frozenset((number, epoch.epoch) for epoch in trial.epochs)
        self._front = members_among(study, others | own)
        for left in others - self._front:
            self._drop(left, study, checkpoints)
        if trial.status is TrialStatus.STOPPED:
            for left in own - self._front:
                self._drop(left, study, checkpoints)
        found = {
            each.epoch: self.path(number, each) for each in checkpoints[number] if (number, each.epoch) in self._front
        }
        return {epoch: path for epoch, path in found.items() if path is not None}

    def path(self, number: int, saved: Saved) -> Path | None:
        """Where a checkpoint of a trial is; None if it is not kept."""
        written = trial_folder(self._folder, number) / saved.path
        return next((path for path in (epoch_file(self._folder, number, saved.epoch), written) if path.exists()), None)

    def _drop(self, moment: Moment, study: StudyRecord, checkpoints: Checkpoints) -> None:
        number, epoch = moment
        is_stopped = any(t.number == number and t.status is TrialStatus.STOPPED for t in study.trials)
        written = checkpoints.get(number, ())
        for saved in written[:-_TO_GO_ON] if is_stopped else written:
            if saved.epoch == epoch and (path := self.path(number, saved)):
                path.unlink()

    def _found(self, study: StudyRecord, checkpoints: Checkpoints) -> frozenset[Moment]:
        """The epochs whose weights are there, the last ones of whole trials included."""
        ended = {trial.number: trial for trial in study.trials if trial.status not in OPEN}
        last = {(number, trial.epochs[-1].epoch) for number, trial in ended.items() if trial.epochs}
        settled = {(int(path.parent.name), int(path.stem.partition("-")[2])) for path in self._folder.glob(EPOCH_FILES)}
        stopped = {
            (number, saved.epoch)
            for number, trial in ended.items()
            if trial.status is TrialStatus.STOPPED
            for saved in checkpoints.get(number, ())
            if self.path(number, saved)
        }
        return frozenset(last | settled | stopped)
