"""Gaussian blur of tensors of any size."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def gaussian_blur(images: Tensor, sigma: float) -> Tensor:
    """Blur images with a Gaussian, cut off at three standard deviations.

    Parameters
    ----------
    images : Tensor, shape (N, C, h, w)
    sigma : float
        Standard deviation in pixels, > 0.

    Returns
    -------
    Tensor, shape (N, C, h, w)
        What lies beyond the border is taken to be as the border's pixels.

    Raises
    ------
    ValueError
        If sigma is not positive and finite.
    """
    if not 0 < sigma < math.inf:
        raise ValueError(f"sigma must be positive and finite, but got {sigma}")
    radius = max(math.ceil(3 * sigma), 1)
    offsets = torch.arange(-radius, radius + 1, dtype=torch.float64)
    kernel = torch.exp(-0.5 * (offsets / sigma).square())
    kernel = (kernel / kernel.sum()).to(images)
    count, channels, height, width = images.shape
    flat = images.reshape(count * channels, 1, height, width)
    # Not reflected, which images smaller than the radius do not allow.
    flat = F.conv2d(
        F.pad(flat, (0, 0, radius, radius), mode="replicate"), kernel[None, None, :, None]
    )
    flat = F.conv2d(F.pad(flat, (radius, radius, 0, 0), mode="replicate"), kernel[None, None, None])
    return flat.reshape(images.shape)
