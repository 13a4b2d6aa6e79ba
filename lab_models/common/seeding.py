"""Where randomness comes from: every generator is seeded from (seed, purpose, epoch), so nothing depends on history."""

import hashlib


def derived_seed(seed: int, *purpose: str | int) -> int:
    """A 63-bit seed for one purpose, equal on every machine: the first bytes of SHA-256 of the words."""
    text = "/".join(str(part) for part in ("training-lab", seed, *purpose))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def initialisation_seed(seed: int) -> int:
    """Seed of the initial weights."""
    return derived_seed(seed, "initialisation")


def epoch_seed(seed: int, epoch: int, purpose: str) -> int:
    """Seed of an epoch's "shuffle", "dropout" or "augmentation"; epochs count from 1."""
    return derived_seed(seed, "epoch", epoch, purpose)
