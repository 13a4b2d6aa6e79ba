"""How many CPU threads a run is worth. Nothing here loads torch."""

from lab_models.specs import AnySpec


def share_of(cores: int, slots: int) -> int:
    """Cores for each of so many runs at a time. Threads that share a core wait for each other at every barrier: two
    networks of convolutions with two threads each on two cores take up to seven times as long as with one each
    (`docs/results.md`).
    """
    return max(1, cores // slots)


def useful_threads(spec: AnySpec, available: int) -> int:
    """One for an MLP, all for convolutions.

    An MLP's step is over before a second thread has earned what it costs to wake it (`docs/results.md`), so the other
    cores are better spent on other seeds. The answer depends on nothing but the spec and what is available: threads
    decide rounding, and an attempt that begins anew must give the bits of the one before.
    """
    return available if spec.network.has_maps else 1
