"""The built-in data sets, with constants that carry their source."""

from typing import Final

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

BUILT_IN = {info.name: info for info in (DIGITS, MNIST, CIFAR10, CIFAR100)}

CONTENT: Final = {
    "mnist": "ac41eb98de58be38b5bafaec0f5a9155bfb08d9b51d50fa2d8a0e3ef055cb95b",
    "cifar10": "55f4d1e3f544aecf6d0087750c212fafa0054f04e6659ed666b2ee92b45b47ca",
}
"""What was published, by `preparation.content_sum`, which no order of the images changes. Of CIFAR-100 mean and std are
compared.
"""

SPOKEN = {"mnist": "MNIST", "cifar10": "CIFAR-10", "cifar100": "CIFAR-100"}


def spoken_name(name: str) -> str:
    """A data set as people write it in a sentence: `CIFAR-10` for `cifar10`; its own name for all others."""
    return SPOKEN.get(name, name)
