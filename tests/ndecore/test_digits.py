"""The split of the digits: whole, disjoint, stratified, stable."""

import hashlib

import pytest
import torch

from ndecore.datasets.base import Splits
from ndecore.datasets.digits import digits


@pytest.fixture(scope="module")
def splits() -> Splits:
    return digits()


def rows(splits: Splits) -> list[tuple[bytes, ...]]:
    parts = (splits.train, splits.validation, splits.test)
    return [tuple(sorted(image.numpy().tobytes() for image in part["inputs"])) for part in parts]


def test_sizes_add_up_to_all_images(splits: Splits) -> None:
    assert [len(part["inputs"]) for part in (splits.train, splits.validation, splits.test)] == [1077, 360, 360]


def test_no_image_is_in_two_parts(splits: Splits) -> None:
    train, validation, test = map(set, rows(splits))
    assert len(train) + len(validation) + len(test) == 1797
    assert train.isdisjoint(validation)
    assert test.isdisjoint(train | validation)


def test_classes_are_as_frequent_in_each_part(splits: Splits) -> None:
    shares = [
        torch.bincount(p["targets"], minlength=10) / len(p["inputs"])
        for p in (splits.train, splits.validation, splits.test)
    ]
    for share in shares:
        assert (share - shares[0]).abs().max() < 2 / 360


def test_pixels_are_in_the_unit_interval(splits: Splits) -> None:
    for part in (splits.train, splits.validation, splits.test):
        assert part["inputs"].dtype == torch.float32
        assert part["targets"].dtype == torch.int64
        assert part["inputs"].shape[1] == 64
        assert (part["inputs"].min(), part["inputs"].max()) == (0, 1)


def test_split_is_the_same_every_time_and_another_with_another_seed(splits: Splits) -> None:
    assert rows(digits()) == rows(splits)
    assert torch.equal(digits().train["inputs"], splits.train["inputs"])
    assert rows(digits(split_seed=1)) != rows(splits)


def test_test_split_is_the_one_that_results_were_published_with(splits: Splits) -> None:
    fingerprint = hashlib.sha256(splits.test["inputs"].numpy().tobytes() + splits.test["targets"].numpy().tobytes())
    assert fingerprint.hexdigest()[:16] == "8110e5c2c9d024b5"
