"""The built-in data sets, with constants that carry their source."""

from typing import Any, Final

from lab_models.datasets.facts import DatasetInfo

_DIGIT_NAMES = tuple(str(digit) for digit in range(10))

DIGITS = DatasetInfo(
    name="digits",
    title="Handwritten digits, 8x8 grey, built in",
    shape=(1, 8, 8),
    class_names=_DIGIT_NAMES,
    num_train=1437,
    num_test=360,
    mean=(0.3059,),
    std=(0.3764,),
    statistics_source="computed over the 1,437 training images (tests recompute it)",
    source=(
        "scikit-learn's load_digits: the test part of UCI 'Optical Recognition of Handwritten Digits', 1,797 images of"
        " 17 grey levels; it has no test split of its own, so a fixed stratified fifth serves as one"
    ),
)

MNIST = DatasetInfo(
    name="mnist",
    title="MNIST handwritten digits, 28x28 grey",
    shape=(1, 28, 28),
    class_names=_DIGIT_NAMES,
    num_train=60_000,
    num_test=10_000,
    mean=(0.1307,),
    std=(0.3081,),
    statistics_source=(
        "PyTorch's MNIST example, transforms.Normalize((0.1307,), (0.3081,)): over the 60,000 training images (tests"
        " recompute it)"
    ),
    source="LeCun, Cortes, Burges, http://yann.lecun.com/exdb/mnist/, read through torchvision.datasets.MNIST",
)

_CIFAR10_NAMES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)

CIFAR10 = DatasetInfo(
    name="cifar10",
    title="CIFAR-10 photographs, 32x32 RGB",
    shape=(3, 32, 32),
    class_names=_CIFAR10_NAMES,
    num_train=50_000,
    num_test=10_000,
    mean=(0.4914, 0.4822, 0.4465),
    std=(0.2470, 0.2435, 0.2616),
    statistics_source=(
        "over all pixels of the 50,000 training images (tests recompute it); the often seen std (0.2023, 0.1994,"
        " 0.2010) is another quantity, the mean of the images' own deviations"
    ),
    source=(
        "Krizhevsky 2009, https://www.cs.toronto.edu/~kriz/cifar.html, as Parquet files or through"
        " torchvision.datasets.CIFAR10"
    ),
)

_CIFAR100_NAMES = (
    "apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle"
    " caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant"
    " flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man"
    " maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree"
    " plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper"
    " snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone television tiger tractor train"
    " trout tulip turtle wardrobe whale willow_tree wolf woman worm"
)

CIFAR100 = DatasetInfo(
    name="cifar100",
    title="CIFAR-100 photographs, 32x32 RGB, fine labels",
    shape=(3, 32, 32),
    class_names=tuple(_CIFAR100_NAMES.split()),
    num_train=50_000,
    num_test=10_000,
    mean=(0.5071, 0.4865, 0.4409),
    std=(0.2673, 0.2564, 0.2762),
    statistics_source=(
        "weiaicunzai/pytorch-cifar100, conf/global_settings.py: over all pixels of the 50,000 training images (tests"
        " recompute it)"
    ),
    source=(
        "Krizhevsky 2009, https://www.cs.toronto.edu/~kriz/cifar.html, as Parquet files or through"
        " torchvision.datasets.CIFAR100"
    ),
)

_OWN_STATISTICS = (
    "as they are usually given for its training images; a whole copy is normalized by its own, computed over its"
    " training images"
)


def _grey_28(name: str, title: str, *facts: Any, source: str) -> DatasetInfo:
    class_names, num_train, num_test, mean, std = facts
    return DatasetInfo(
        name,
        f"{title}, 28x28 grey",
        (1, 28, 28),
        class_names,
        num_train,
        num_test,
        (mean,),
        (std,),
        _OWN_STATISTICS,
        source,
    )


FASHION_MNIST = _grey_28(
    "fashion_mnist",
    "Fashion-MNIST articles of clothing",
    (
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    ),
    60_000,
    10_000,
    0.2860,
    0.3530,
    source=(
        "Xiao, Rasul, Vollgraf 2017 (arXiv:1708.07747), https://github.com/zalandoresearch/fashion-mnist, MIT licence,"
        " through torchvision.datasets.FashionMNIST"
    ),
)

KMNIST = _grey_28(
    "kmnist",
    "Kuzushiji-MNIST, cursive Japanese characters",
    ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
    60_000,
    10_000,
    0.1918,
    0.3483,
    source=(
        "Clanuwat et al. 2018 (arXiv:1812.01718), http://codh.rois.ac.jp/kmnist/, CC BY-SA 4.0, through"
        " torchvision.datasets.KMNIST"
    ),
)

_LETTERS = tuple("abcdefghijklmnopqrstuvwxyz")
_EMNIST_SOURCE = (
    "Cohen et al. 2017 (arXiv:1702.05373), https://www.nist.gov/itl/products-and-services/emnist-dataset, the archive"
    " that torchvision.datasets.EMNIST downloads; its transposed images are put upright here"
)

EMNIST_BALANCED = _grey_28(
    "emnist_balanced",
    "EMNIST digits and letters, as many of each class",
    (*_DIGIT_NAMES, *(letter.upper() for letter in _LETTERS), *"abdefghnqrt"),
    112_800,
    18_800,
    0.1751,
    0.3332,
    source=_EMNIST_SOURCE,
)

EMNIST_LETTERS = _grey_28(
    "emnist_letters",
    "EMNIST letters, both cases as one class",
    _LETTERS,
    124_800,
    20_800,
    0.1722,
    0.3309,
    source=_EMNIST_SOURCE,
)

EMNIST_DIGITS = _grey_28(
    "emnist_digits",
    "EMNIST digits",
    _DIGIT_NAMES,
    240_000,
    40_000,
    0.1733,
    0.3317,
    source=_EMNIST_SOURCE,
)

SVHN = DatasetInfo(
    name="svhn",
    title="Street View House Numbers, cropped digits, 32x32 RGB",
    shape=(3, 32, 32),
    class_names=_DIGIT_NAMES,
    num_train=73_257,
    num_test=26_032,
    mean=(0.4377, 0.4438, 0.4728),
    std=(0.1980, 0.2010, 0.1970),
    statistics_source=_OWN_STATISTICS,
    source=(
        "Netzer et al. 2011, http://ufldl.stanford.edu/housenumbers/, for non-commercial use, train and test without"
        " extra, the files of torchvision.datasets.SVHN"
    ),
)

STL10 = DatasetInfo(
    name="stl10",
    title="STL-10 photographs, 96x96 RGB, the labeled ones",
    shape=(3, 96, 96),
    class_names=(
        *("airplane", "bird", "car", "cat", "deer"),
        *("dog", "horse", "monkey", "ship", "truck"),
    ),
    num_train=5_000,
    num_test=8_000,
    mean=(0.4467, 0.4398, 0.4066),
    std=(0.2603, 0.2566, 0.2713),
    statistics_source=_OWN_STATISTICS,
    source=(
        "Coates, Lee, Ng 2011, https://cs.stanford.edu/~acoates/stl10/, images of ImageNet, without the unlabeled ones"
        " and the folds, the files of torchvision.datasets.STL10"
    ),
)

KNOWN_BY_CONTENT = {info.name: info for info in (DIGITS, MNIST, CIFAR10, CIFAR100)}
"""Whose images the statistics were computed of here, so that a copy that differs can be told."""

BUILT_IN = {
    **KNOWN_BY_CONTENT,
    **{
        info.name: info
        for info in (
            *(FASHION_MNIST, KMNIST, EMNIST_BALANCED, EMNIST_LETTERS, EMNIST_DIGITS),
            *(SVHN, STL10),
        )
    },
}
"""In the order in which they are shown."""

CONTENT: Final = {
    "mnist": "ac41eb98de58be38b5bafaec0f5a9155bfb08d9b51d50fa2d8a0e3ef055cb95b",
    "cifar10": "55f4d1e3f544aecf6d0087750c212fafa0054f04e6659ed666b2ee92b45b47ca",
}
"""What was published, by `preparation.content_sum`, which no order of the images changes. Of CIFAR-100 mean and std are
compared.
"""

SPOKEN = {
    "mnist": "MNIST",
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "fashion_mnist": "Fashion-MNIST",
    "kmnist": "KMNIST",
    "emnist_balanced": "EMNIST Balanced",
    "emnist_letters": "EMNIST Letters",
    "emnist_digits": "EMNIST Digits",
    "svhn": "SVHN",
    "stl10": "STL-10",
}


def spoken_name(name: str) -> str:
    """A data set as people write it in a sentence: `CIFAR-10` for `cifar10`; its own name for all others."""
    return SPOKEN.get(name, name)
