"""The handwritten digits that come with scikit-learn: real 8x8 images, no download."""

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from ndecore.datasets.base import Splits


def digits(split_seed: int = 0) -> Splits:
    """1,797 images of 64 pixels in [0, 1] and their labels 0 to 9: 1,077 train, 360 validation, 360 test, stratified.

    Args:
        split_seed: decides which image goes where; the same seed gives the same split on every machine.

    Reference: Alpaydin, Kaynak, Optical Recognition of Handwritten Digits, UCI (1998); the 1,797 of its test part.
    """
    images, labels = load_digits(return_X_y=True)
    images = images / 16.0
    rest_x, test_x, rest_y, test_y = train_test_split(
        images, labels, test_size=360, random_state=split_seed, stratify=labels
    )
    train_x, validation_x, train_y, validation_y = train_test_split(
        rest_x, rest_y, test_size=360, random_state=split_seed, stratify=rest_y
    )
    return Splits(
        *(
            {"inputs": torch.tensor(x, dtype=torch.float32), "targets": torch.tensor(y, dtype=torch.int64)}
            for x, y in ((train_x, train_y), (validation_x, validation_y), (test_x, test_y))
        )
    )
