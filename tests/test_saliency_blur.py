import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from wsl.saliency.blur import gaussian_blur


@pytest.mark.parametrize("sigma", [0.3, 1.0, 4.0])
@pytest.mark.parametrize("size", [(20, 30), (3, 2), (1, 1)])
def test_it_equals_scipys(sigma, size):
    images = torch.rand(2, 3, *size, dtype=torch.float64)
    radius = max(int(np.ceil(3 * sigma)), 1)
    expected = gaussian_filter(images.numpy(), sigma, mode="nearest", radius=radius, axes=(2, 3))
    np.testing.assert_allclose(gaussian_blur(images, sigma).numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("sigma", [0.0, -1.0, float("nan"), float("inf")])
def test_sigma_is_positive(sigma):
    with pytest.raises(ValueError, match="sigma must be positive and finite, but got"):
        gaussian_blur(torch.zeros(1, 3, 4, 4), sigma)
