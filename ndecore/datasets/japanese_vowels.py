"""Japanese Vowels: short utterances of nine speakers, of unequal lengths. The files come with ndecore."""

import numpy as np

from ndecore.datasets.places import path_of
from ndecore.datasets.series import concatenated
from ndecore.datasets.splitting import SeriesSplits, hold_out, labels_of
from ndecore.datasets.ts import read_ts
from ndecore.errors import InputError

_N_TRAIN, _N_CLASSES = 270, 9


def japanese_vowels(split_seed: int = 0, n_validation: int = 90) -> SeriesSplits:
    """640 utterances, 7 to 29 frames of 12 cepstrum coefficients, 9 speakers: 180 train, 90 validation, 370 test.

    Training and validation are from the published training part, 20 and 10 utterances of each speaker; the published
    test part was recorded on other occasions. Times are the frames' numbers (6.4 ms apart). All are padded to 29.

    Args:
        split_seed: decides which utterance is for validation; the same seed gives the same split on every machine.
        n_validation: utterances held out of the 270, a multiple of 9 for as many of each speaker.

    Reference: Kudo, Toyama, Shimbo, Multidimensional curve classification using passing-through regions, Pattern
    Recognition Letters 20 (1999); files/japanese-vowels/NOTICE.
    """
    if not _N_CLASSES <= n_validation < _N_TRAIN:
        raise InputError(f"n_validation: got {n_validation}, allowed: {_N_CLASSES} to {_N_TRAIN - 1}")
    paths = [path_of("japanese-vowels", f"JapaneseVowels_{part}.ts") for part in ("TRAIN", "TEST")]
    series = concatenated([read_ts(path) for path in paths])
    published = series.take(np.arange(_N_TRAIN))
    train, validation = hold_out(labels_of(published), n_validation, split_seed)
    test = series.take(np.arange(_N_TRAIN, len(series)))
    return SeriesSplits(published.take(train), published.take(validation), test)
