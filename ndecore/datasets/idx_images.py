"""MNIST and Fashion-MNIST, from their IDX files. `nde-study data` says whether they are here and how to get them."""

import numpy as np
import torch

from ndecore.datasets.base import Batch, Splits
from ndecore.datasets.idx import read_idx
from ndecore.datasets.places import path_of
from ndecore.datasets.splitting import hold_out
from ndecore.errors import InputError


def mnist(split_seed: int = 0, n_validation: int = 10_000) -> Splits:
    """70,000 digits: 50,000 train, 10,000 validation, 10,000 test (the published test part); see `idx_images`."""
    return idx_images("mnist", split_seed, n_validation)


def fashion_mnist(split_seed: int = 0, n_validation: int = 10_000) -> Splits:
    """70,000 pictures of clothes: 50,000 train, 10,000 validation, 10,000 test; see `idx_images`."""
    return idx_images("fashion-mnist", split_seed, n_validation)


def idx_images(name: str, split_seed: int, n_validation: int) -> Splits:
    """Images of 784 pixels in [0, 1] as `inputs`, and their labels 0 to 9 as `targets`; validation stratified.

    Args:
        name: of the data set in the catalogue.
        split_seed: decides which image is for validation; the same seed gives the same split on every machine.
        n_validation: images held out of the training part.

    Raises:
        InputError: the data set is not here; its files are damaged or do not fit each other.
    """
    train, test = _part(name, "train"), _part(name, "t10k")
    n = len(train["targets"])
    if not 0 < n_validation < n:
        raise InputError(f"n_validation: got {n_validation}, allowed: 1 to {n - 1}")
    kept, held = map(torch.from_numpy, hold_out(train["targets"].numpy(), n_validation, split_seed))
    training, validation = ({key: tensor[chosen] for key, tensor in train.items()} for chosen in (kept, held))
    return Splits(training, validation, test)


def _part(name: str, part: str) -> Batch:
    images = read_idx(path_of(name, f"{part}-images-idx3-ubyte"))
    labels = read_idx(path_of(name, f"{part}-labels-idx1-ubyte"))
    if images.dtype != np.uint8 or images.ndim != 3 or labels.shape != images.shape[:1]:
        raise InputError(f"{name}: {part} has images {images.shape} and labels {labels.shape}, which do not fit")
    pixels = torch.from_numpy(images).flatten(1).float() / 255
    return {"inputs": pixels, "targets": torch.from_numpy(labels).long()}
