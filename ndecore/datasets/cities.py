"""Where the cities of the world are: a table of two columns. The file comes with ndecore."""

from pathlib import Path

import numpy as np
import torch

from ndecore.datasets.base import Splits

_FILE = Path(__file__).parent / "files" / "cities" / "cities.csv.gz"
SIZES = (16_384, 3_072, 3_072)  # train, validation, test


def cities(split_seed: int = 0) -> Splits:
    """Longitude and latitude of 22,528 cities: 16,384 train, 3,072 validation, 3,072 test.

    Each coordinate has mean 0 and variance 1 over the training part; a density is per unit of both.

    Args:
        split_seed: decides which city goes where; the same seed gives the same split on every machine.

    Reference: GeoNames, CC BY 4.0; files/cities/NOTICE.
    """
    table = np.loadtxt(_FILE, delimiter=",", skiprows=1)
    table = table[np.random.default_rng(split_seed).permutation(len(table))]
    train = table[: SIZES[0]]
    points = torch.tensor((table - train.mean(axis=0)) / train.std(axis=0), dtype=torch.float32)
    return Splits(*({"inputs": part.clone()} for part in points.split(SIZES)))
