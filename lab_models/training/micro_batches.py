"""In how many parts a batch is computed where memory ran out. Nothing here loads torch."""

from lab_models.specs import AnySpec

SMALLEST_PART = 4
"""Images that are always computed together: of two and more every part is left, which batch norm needs."""


def part_size(batch_size: int, micro_batches: int) -> int:
    """Images per part at most, but for the image that joins a last batch."""
    return -(-batch_size // micro_batches)


def num_parts(num_rows: int, batch_size: int, micro_batches: int) -> int:
    """In how many parts a batch of `num_rows` is computed: a last one that is short in fewer, and one that the last
    image of an epoch has joined in no more, so that without need no batch is cut.
    """
    return min(micro_batches, -(-num_rows // part_size(batch_size, micro_batches)))


def after_out_of_memory(spec: AnySpec, micro_batches: int) -> int | None:
    """In how many parts to try the batch next; None where the spec does not allow it, or parts cannot become
    smaller.
    """
    if (
        spec.on_out_of_memory != "halve_batch"
        or part_size(spec.batch_size, 2 * micro_batches) < SMALLEST_PART
    ):
        return None
    return 2 * micro_batches
