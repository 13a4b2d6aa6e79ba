"""From a trained network and images to an explanation: right and wrong examples with their maps, and what the checks of
the maps say.
"""

from dataclasses import dataclass

import numpy as np

from lab_models.explanations.faithfulness import FORWARD_PASSES, Faithfulness, faithfulness
from lab_models.explanations.maps import Floats, Integers, class_maps, enlarged
from lab_models.explanations.network import BATCH, OpenNetwork, Pixels
from lab_models.explanations.question import Method, Question, Show
from lab_models.explanations.randomization import DRAWS, Randomized, cascade
from lab_models.explanations.single import refuse_one_place

MOST_MACS = 6e10
"""Multiply-accumulates that each of looking for examples, faithfulness and randomization may take: two or three seconds
of one core.
"""
FAITHFULNESS_IMAGES, RANDOMIZATION_IMAGES = (8, 100), (8, 32)
"""At least and at most; between them as many as `MOST_MACS` allow."""


@dataclass(frozen=True)
class Example:
    """One image by its row: true and predicted class, their probabilities, `pixels` (C, H, W) uint8 and the predicted
    class's `map` (h, w).
    """

    row: int
    label: int
    predicted: int
    probability: float
    label_probability: float
    pixels: Pixels
    map: Floats

    @property
    def is_right(self) -> bool:
        """Whether the predicted class is the true one."""
        return self.predicted == self.label


@dataclass(frozen=True)
class Explanation:
    """`stage` gave the maps. `num_seen` images were looked at in random order for the examples, of which `num_wrong`
    are taken for another class.
    """

    stage: str
    num_seen: int
    num_wrong: int
    examples: tuple[Example, ...]
    faithfulness: Faithfulness
    randomization: tuple[Randomized, ...]


def explain(
    content: bytes,
    images: Pixels,
    labels: Integers,
    rows: Integers,
    question: Question,
    *,
    macs: int,
    blank: tuple[float, ...],
) -> Explanation:
    """Explain the network of an ONNX file by `rows` of images (N, C, H, W) with labels (N,), of which examples and
    samples are drawn at random.

    `macs`: its multiply-accumulates per image, from which follows how many images the checks take; `blank`: the data
    set's mean per channel, in [0, 1]. All maps are those of the predicted class. Raises Unexplainable, also where maps
    of one place say nothing about where.
    """
    network = OpenNetwork(content)
    order = np.random.default_rng(question.seed).permutation(rows)
    refuse_one_place(network.look(images[order[:1]]).maps.shape[2:], images.shape[2:])
    chosen, num_seen, num_wrong = _chosen(
        network, images, labels, order[: max(BATCH, int(MOST_MACS / macs))], question
    )
    return Explanation(
        network.stage,
        num_seen,
        num_wrong,
        _examples(network, images, labels, chosen, question.method),
        _faithfulness(
            network,
            images[order[: _affordable(macs * FORWARD_PASSES, FAITHFULNESS_IMAGES)]],
            question,
            blank,
        ),
        _randomization(
            network,
            images[order[: _affordable(macs * DRAWS * len(network.stages), RANDOMIZATION_IMAGES)]],
            question,
        ),
    )


def _affordable(macs_per_image: int, bounds: tuple[int, int]) -> int:
    least, most = bounds
    return max(least, min(most, int(MOST_MACS / macs_per_image)))


def _chosen(
    network: OpenNetwork, images: Pixels, labels: Integers, order: Integers, question: Question
) -> tuple[Integers, int, int]:
    """Rows of right examples, then of wrong ones, the first of each in the order; how many were looked at for them; and
    how many of those are wrong.
    """
    half = {
        Show.BOTH: question.num_examples // 2,
        Show.RIGHT: 0,
        Show.WRONG: question.num_examples,
    }[question.show]
    wanted = {True: question.num_examples - half, False: half}
    hits = np.zeros(0, dtype=bool)
    while len(hits) < len(order) and any(
        np.count_nonzero(hits == kind) < count for kind, count in wanted.items()
    ):
        batch = order[len(hits) : len(hits) + BATCH]
        hits = np.concatenate(
            [hits, network.probabilities(images[batch]).argmax(axis=1) == labels[batch]]
        )
    seen = order[: len(hits)]
    rows = np.concatenate([seen[hits == kind][:count] for kind, count in wanted.items()])
    return rows, len(hits), int(np.count_nonzero(~hits))


def _examples(
    network: OpenNetwork, images: Pixels, labels: Integers, rows: Integers, method: Method
) -> tuple[Example, ...]:
    if not len(rows):
        return ()
    pixels = images[rows]
    seen = network.look(pixels)
    predicted = seen.probabilities.argmax(axis=1)
    maps = class_maps(method, seen, network.tail, predicted)
    return tuple(
        Example(
            int(row),
            int(labels[row]),
            int(taken),
            float(odds[taken]),
            float(odds[labels[row]]),
            np.array(picture),
            found,
        )
        for row, taken, odds, picture, found in zip(
            rows, predicted, seen.probabilities, pixels, maps, strict=True
        )
    )


def _faithfulness(
    network: OpenNetwork, images: Pixels, question: Question, blank: tuple[float, ...]
) -> Faithfulness:
    seen = network.look(images)
    classes = seen.probabilities.argmax(axis=1)
    relevance = enlarged(class_maps(question.method, seen, network.tail, classes), images.shape[2:])
    return faithfulness(
        network.probabilities, images, relevance, classes, blank=blank, seed=question.seed
    )


def _randomization(
    network: OpenNetwork, images: Pixels, question: Question
) -> tuple[Randomized, ...]:
    classes = network.look(images).probabilities.argmax(axis=1)
    return tuple(cascade(network, question.method, images, classes, seed=question.seed))
