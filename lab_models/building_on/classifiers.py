"""Classical classifiers on a frozen network's features: the stable baselines that fine-tuning has to beat. scikit-learn
does the work.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
from sklearn.svm import LinearSVC
from torch import nn

from lab_models.building_on.features import ClassifiedFeatures, Features, Fitted, features_of
from lab_models.datasets.batches import Splits
from lab_models.datasets.splits import sample_rows
from lab_models.specs import EVERY_CLASSIFIER, TransferSpec

Array = npt.NDArray[Any]
STRENGTHS = (0.001, 0.01, 0.1, 1.0)
"""Values of C that are tried, on standardized features."""
NEIGHBORS = (1, 5, 10, 20)
"""Values of k that are tried."""
MOST_ITERATIONS = 300


def classified_features(
    model: nn.Module, splits: Splits, spec: TransferSpec, head: str
) -> ClassifiedFeatures:
    """What the classifiers that the spec asks for make of the frozen network's features: those that go into `head`, or
    of the spec's stage.
    """
    train, val, test = (
        features_of(model, split, spec.stage, head, spec.precision)
        for split in (splits.train, splits.val, splits.test)
    )
    found = fit_classifiers(spec.classifiers or EVERY_CLASSIFIER, train, val, test)
    return ClassifiedFeatures(train.values.shape[1], tuple(found))


def fit_classifiers(
    names: Sequence[str], train: Features, val: Features, test: Features
) -> Iterator[Fitted]:
    """Each of the named classifiers, fitted on train with every setting, chosen by val accuracy (the first wins a tie),
    read on test once. Train accuracy is of as many images as test has; nearest neighbors find each of them beside
    itself.

    Features are standardized by train's mean and deviation for linear and Gaussian models, and scaled to length 1 for
    those that go by the angle between two images: nearest neighbors and nearest class mean.
    """
    mean, deviation = train.values.mean(0), train.values.std(0) + 1e-6
    for name in names:
        prepare = (
            _unit if name in ("knn", "nearest_mean") else lambda values: (values - mean) / deviation
        )
        yield _best(
            name,
            [
                Features(prepare(part.values.astype(np.float64)), part.labels)
                for part in (train, val, test)
            ],
        )


def _best(name: str, parts: list[Features]) -> Fitted:
    train, val, test = parts
    begun, found = perf_counter(), []
    for setting, make in _candidates(name, len(train.labels)):
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            model = make().fit(train.values, train.labels)
        converged = not any(issubclass(warning.category, ConvergenceWarning) for warning in said)
        found.append((float(model.score(val.values, val.labels)), setting, model, converged))
    accuracy, setting, model, converged = max(found, key=lambda candidate: candidate[0])
    learned = sample_rows(train.labels, len(test.labels))
    return Fitted(
        name,
        setting,
        float(model.score(train.values[learned], train.labels[learned])),
        accuracy,
        float(model.score(test.values, test.labels)),
        converged,
        perf_counter() - begun,
    )


def _candidates(name: str, num_train: int) -> list[tuple[dict[str, float], Callable[[], Any]]]:
    """The settings of a classifier that val chooses among, and how to make each."""
    match name:
        case "linear_svm":
            return [
                (
                    {"C": c},
                    partial(LinearSVC, C=c, dual="auto", random_state=0, max_iter=MOST_ITERATIONS),
                )
                for c in STRENGTHS
            ]
        case "logistic_regression":
            return [
                ({"C": c}, partial(LogisticRegression, C=c, max_iter=MOST_ITERATIONS))
                for c in STRENGTHS
            ]
        case "knn":
            return [
                ({"k": k}, partial(KNeighborsClassifier, k, metric="cosine"))
                for k in NEIGHBORS
                if k <= num_train
            ]
        case "gaussian_nb":
            return [({}, GaussianNB)]
        case "lda":
            return [({}, partial(LinearDiscriminantAnalysis, solver="lsqr", shrinkage="auto"))]
        case "nearest_mean":
            return [({}, NearestCentroid)]
        case _:
            raise ValueError(f"there is no classifier {name!r}")


def _unit(values: Array) -> Array:
    unit: Array = values / (np.linalg.norm(values, axis=1, keepdims=True) + 1e-12)
    return unit
