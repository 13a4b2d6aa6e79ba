"""Training procedures that several pages share, as parts of a request: everything but the network.

A page merges one of these with its networks, so that two cells of a table differ in what the table varies and in
nothing else. Where a source's text and its code disagree there are two procedures: `…_LITERAL` or `…_README` is what it
says, `…_AS_CODED` what it did.
"""

from typing import Any

Part = dict[str, Any]

MNIST_LITERAL: Part = {
    "dataset": {"name": "mnist", "val_fraction": 0.2},
    "optimizer": {"name": "adam", "learning_rate": 0.001},
    "batch_size": 64,
    "epochs": 10,
}
"""The README of exercises 1.1 and 1.2, to the letter: Adam 0.001, batches of 64, 80/20, ten epochs, no regularization.
"""

MNIST_AS_CODED: Part = {
    "dataset": {"name": "mnist", "val_fraction": 0.1, "stratified": False},
    "optimizer": {"name": "adam", "learning_rate": 0.001, "weight_decay": 1e-4},
    "schedule": {"name": "cosine", "update": "epoch"},
    "batch_size": 128,
    "epochs": 10,
}
"""What the code of the same exercises does: batches of 128, 90/10 at random, weight decay, cosine down to 0 over the
ten epochs.
"""

MNIST_STRONG: Part = {
    "dataset": {"name": "mnist", "val_fraction": 0.1, "augmentation": "shift_rotate"},
    "optimizer": {"name": "adamw", "learning_rate": 0.001, "weight_decay": 0.05},
    "schedule": {"name": "cosine", "warmup_epochs": 2.0},
    "batch_size": 128,
    "epochs": 40,
    "label_smoothing": 0.05,
    "ema_decay": 0.999,
}
"""As well as an MLP does on MNIST: ±2 px and ±10°, AdamW, warm-up over 5 % of 40 epochs, label smoothing, averaged
weights. Ours.
"""

MNIST_EARLY_STOPPING: Part = {
    "dataset": {"name": "mnist", "val_fraction": 0.1},
    "optimizer": {"name": "adam", "learning_rate": 0.001},
    "batch_size": 128,
    "epochs": 50,
    "early_stopping": {
        "patience": 5,
        "min_delta": 1e-4,
        "overfit_delta": 0.02,
        "overfit_patience": 3,
    },
}
"""The small MLP's README: Adam 0.001, batches of 128, 90/10 stratified, at most 50 epochs, two stopping rules. It gives
no values for them: these are ours.
"""

CIFAR_README: Part = {
    "dataset": {"name": "cifar10", "val_fraction": 0.2},
    "optimizer": {"name": "sgd", "learning_rate": 0.001},
    "batch_size": 128,
    "epochs": 20,
}
"""The README of exercise 1.3, to the letter: SGD 0.001 and nothing more, batches of 128, 80/20, 20 epochs."""

CIFAR_AS_CODED: Part = {
    "dataset": {
        "name": "cifar10",
        "val_fraction": 0.1,
        "stratified": False,
        "augmentation": "crop_flip",
    },
    "optimizer": {"name": "sgd", "learning_rate": 0.001, "momentum": 0.9, "weight_decay": 5e-4},
    "schedule": {"name": "multi_step", "milestones": [50, 75], "factor": 0.1},
    "batch_size": 128,
    "epochs": 20,
}
"""What the code of the same exercise does: momentum 0.9, weight decay, crop and flip, 90/10 at random; the steps at 50
and 75 lie past the 20 epochs.

The code augments val as well; here val is never augmented.
"""

CIFAR_THREE_MODELS: Part = {
    "dataset": {"name": "cifar10", "val_fraction": 0.2, "augmentation": "crop_flip"},
    "optimizer": {"name": "sgd", "learning_rate": 0.1, "momentum": 0.9, "weight_decay": 5e-4},
    "schedule": {"name": "cosine", "update": "epoch"},
    "batch_size": 128,
    "epochs": 50,
    "best_by": "accuracy",
}
"""The comparison of three models: 50 epochs, batches of 128, learning rate 0.1 are from its command lines; the rest is
from its script.

The script augments val and test as well; here train alone is.
"""

CIFAR_HE: Part = {
    "dataset": {"name": "cifar10", "val_fraction": 0.1, "augmentation": "crop_flip"},
    "optimizer": {"name": "sgd", "learning_rate": 0.1, "momentum": 0.9, "weight_decay": 1e-4},
    "schedule": {"name": "multi_step", "milestones": [91, 136], "factor": 0.1},
    "batch_size": 128,
    "epochs": 182,
}
"""He et al. 2015, section 4.2: 45k/5k, batches of 128, 0.1 divided by 10 at 32k and 48k iterations, 64k in all.

An epoch has 352 steps, so 32k, 48k and 64k iterations are 91, 136 and 182 epochs.
"""

CIFAR_STRONG: Part = {
    "dataset": {"name": "cifar10", "val_fraction": 0.1, "augmentation": "crop_flip"},
    "optimizer": {
        "name": "sgd",
        "learning_rate": 0.1,
        "momentum": 0.9,
        "nesterov": True,
        "weight_decay": 5e-4,
    },
    "schedule": {"name": "cosine", "warmup_epochs": 5.0},
    "batch_size": 128,
    "epochs": 200,
    "precision": "bfloat16",
}
"""To convergence: 200 epochs, five of them warm-up, then cosine. No label smoothing: a smoothed teacher teaches worse
(Müller et al. 2019).
"""

CIFAR_FAST: Part = {
    "dataset": {"name": "cifar10", "val_fraction": 0.1, "augmentation": "crop_flip_cutout"},
    "optimizer": {
        "name": "sgd",
        "learning_rate": 0.8,
        "momentum": 0.9,
        "nesterov": True,
        "weight_decay": 5e-4,
    },
    "schedule": {"name": "one_cycle"},
    "batch_size": 512,
    "epochs": 30,
    "precision": "bfloat16",
}
"""Nearly as good in 30 epochs: one-cycle to 0.8 (0.2 per 128 images), crop, flip and cutout. Ours."""
