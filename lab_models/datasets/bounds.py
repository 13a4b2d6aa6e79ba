"""What an import will take, and where that is too much. Nothing here loads torch."""

from lab_models.datasets.decoding import Size
from lab_models.datasets.layout import Layout
from lab_models.datasets.refusals import ImportLimits, ImportRefused
from lab_models.datasets.sizing import ImageSizes, Wanted

LABEL_BYTES = 8


def bytes_written(layout: Layout, size: Size, wanted: Wanted) -> int:
    """Bytes of the arrays, at most: whether all images are grey shows when they are decoded."""
    return (len(layout.train) + len(layout.test)) * (
        (wanted.channels or 3) * size.height * size.width + LABEL_BYTES
    )


def bytes_beside(layout: Layout, size: Size, wanted: Wanted) -> int:
    """What lies beside the arrays for a moment when images turn out to be grey."""
    return 0 if wanted.channels is not None else len(layout.train) * size.height * size.width


def refuse_too_many(layout: Layout, limits: ImportLimits) -> None:
    """Raises ImportRefused for more images than an import may have."""
    count = len(layout.train) + len(layout.test)
    if count > limits.max_images:
        raise ImportRefused(f"{count:,} images are more than {limits.max_images:,}")


def refuse_too_much(layout: Layout, own: ImageSizes, size: Size, limits: ImportLimits) -> None:
    """Raises ImportRefused for more bytes or more pixels than an import may have."""
    count = len(layout.train) + len(layout.test)
    num_bytes = count * 3 * size.height * size.width
    if num_bytes > limits.max_array_bytes:
        raise ImportRefused(
            f"{count:,} images of {size.height}x{size.width} pixels take {num_bytes:,} bytes, more than"
            f" {limits.max_array_bytes:,}",
            hint="choose a smaller size",
        )
    if own.num_pixels > limits.max_pixels:
        raise ImportRefused(
            f"the images have {own.num_pixels:,} pixels together, more than {limits.max_pixels:,}",
            hint="scale them down before, or import fewer of them",
        )
