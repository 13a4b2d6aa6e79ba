"""Random views of the training images, whole batches at once on their device.

What happens to an image is drawn per (seed, epoch, row), so an epoch that is resumed in its middle sees the same views.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from lab_models.common.seeding import epoch_seed
from lab_models.specs import AugmentationSpec


@dataclass(frozen=True)
class Views:
    """One epoch's draws for all N images: each tensor is (N,) or None where the spec does not ask for it.

    `down` and `right` are pixels that the window moves by; `mirrored` flips left and right; `angle` is in radians;
    `cut_top` and `cut_left` are the corner of the square to cut out, of side `cutout`. `index` numbers stored views.
    """

    down: Tensor | None
    right: Tensor | None
    mirrored: Tensor | None
    angle: Tensor | None
    cut_top: Tensor | None
    cut_left: Tensor | None
    cutout: int
    index: int = 0


def draw_views(
    spec: AugmentationSpec,
    num_rows: int,
    shape: tuple[int, int, int],
    seed: int,
    epoch: int,
    device: torch.device,
) -> Views | None:
    """The epoch's views of `num_rows` images of shape (channels, height, width); None when the spec changes nothing."""
    if spec.is_none:
        return None
    generator = torch.Generator().manual_seed(epoch_seed(seed, epoch, "augmentation"))
    _, height, width = shape
    reach = spec.crop_padding or spec.shift

    def integers(low: int, high: int) -> Tensor:
        return torch.randint(low, high + 1, (num_rows,), generator=generator).to(device)

    corner = -(spec.cutout // 2)
    return Views(
        down=integers(-reach, reach) if reach else None,
        right=integers(-reach, reach) if reach else None,
        mirrored=integers(0, 1).bool() if spec.horizontal_flip else None,
        angle=(torch.rand(num_rows, generator=generator) * 2 - 1)
        .mul_(torch.pi * spec.rotation / 180)
        .to(device)
        if spec.rotation
        else None,
        cut_top=integers(corner, corner + height - 1) if spec.cutout else None,
        cut_left=integers(corner, corner + width - 1) if spec.cutout else None,
        cutout=spec.cutout,
    )


def moved(images: Tensor, where: Tensor, rows: Tensor, views: Views) -> Tensor:
    """The images `images[where]`, moved and mirrored as `views[rows]` says; black comes in. (N, C, H, W) uint8 -> (B,
    C, H, W) uint8.
    """
    if views.down is None and views.mirrored is None:
        return images[where]
    _, _, height, width = images.shape
    y = torch.arange(height, device=images.device).expand(len(rows), -1)
    x = torch.arange(width, device=images.device).expand(len(rows), -1)
    # mirrored after the move: the window is cut out first, then turned over
    if views.mirrored is not None:
        x = torch.where(views.mirrored[rows, None], width - 1 - x, x)
    if views.down is None or views.right is None:
        return _picked(images, where, y, x)
    y, x = y + views.down[rows, None], x + views.right[rows, None]
    inside = ((y >= 0) & (y < height))[:, None, :, None] & ((x >= 0) & (x < width))[
        :, None, None, :
    ]
    return _picked(images, where, y.clamp(0, height - 1), x.clamp(0, width - 1)) * inside


def rotated(pixels: Tensor, rows: Tensor, views: Views) -> Tensor:
    """Each image turned about its center, bilinearly; black comes in. (B, C, H, W) float, black is 0."""
    if views.angle is None:
        return pixels
    cos, sin = views.angle[rows].cos(), views.angle[rows].sin()
    # the grid's unit differs along the sides of an oblong image
    ratio = pixels.shape[2] / pixels.shape[3]
    zero = torch.zeros_like(cos)
    theta = torch.stack(
        [torch.stack([cos, -sin * ratio, zero], 1), torch.stack([sin / ratio, cos, zero], 1)], 1
    )
    grid = functional.affine_grid(theta, list(pixels.shape), align_corners=False)
    return functional.grid_sample(pixels, grid, align_corners=False)


def cut_out(images: Tensor, rows: Tensor, views: Views) -> Tensor:
    """A square of each normalized image set to 0, the mean color, in place. (B, C, H, W) float."""
    if views.cut_top is None or views.cut_left is None:
        return images
    y = torch.arange(images.shape[2], device=images.device) - views.cut_top[rows, None]
    x = torch.arange(images.shape[3], device=images.device) - views.cut_left[rows, None]
    square = ((y >= 0) & (y < views.cutout))[:, None, :, None] & ((x >= 0) & (x < views.cutout))[
        :, None, None, :
    ]
    return images.masked_fill_(square, 0.0)


def _picked(images: Tensor, where: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """Pixel (y, x) of each image: (N, C, H, W), (B,), (B, H), (B, W) -> (B, C, H, W)."""
    return images[where[:, None, None], :, y[:, :, None], x[:, None, :]].permute(0, 3, 1, 2)
