"""Insertion and deletion: how the class's probability follows the map's order of pixels.

Deletion takes the pixels away, the highest of the map first; a good map lets the probability fall
fast, so that the area under the curve is small. Insertion brings them into a blurred image; a good
map lets it rise fast, so that the area is large.

References
----------
V. Petsiuk, A. Das, K. Saenko, "RISE: randomized input sampling for explanation of black-box
models", BMVC 2018, sec. 4.2.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, get_args

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from wsl.errors import ScoreError, choices_hint
from wsl.score.estimates import Estimate, mean_estimate
from wsl.score.maps import check_map, resize_map
from wsl.score.result import Baseline, Scores

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["CausalScorer", "Fill", "causal_curve", "filled", "trapezoid_area"]

Fill = Literal["blur", "zero", "mean"]

# The paper's code blurs with a Gaussian of 11 × 11 pixels and this width.
_BLUR_SIDE, _BLUR_SIGMA = 11, 5.0


def filled(image: NDArray[np.float32], fill: Fill) -> NDArray[np.float32]:
    """Return what an image becomes without its pixels.

    Parameters
    ----------
    image : ndarray of float32, shape (C, H, W)
        As the classifier takes it, normalized.
    fill : {'blur', 'zero', 'mean'}
        Gaussian blur; 0, which is the mean color of the training set after normalization; the
        image's own mean color.
    """
    if fill == "blur":
        kernel = (_BLUR_SIDE, _BLUR_SIDE)
        blurred = [cv2.GaussianBlur(channel, kernel, _BLUR_SIGMA) for channel in image]
        return np.stack(blurred).astype(np.float32)
    if fill == "mean":
        means = image.mean(axis=(1, 2), keepdims=True)
        return np.broadcast_to(means, image.shape).astype(np.float32)
    return np.zeros_like(image)


def trapezoid_area(curve: ArrayLike) -> float:
    """Area under a curve at equally spaced points from 0 to 1, by the trapezoid rule.

    Examples
    --------
    >>> trapezoid_area([0.0, 0.5, 1.0])
    0.5
    """
    values = np.asarray(curve, dtype=np.float64)
    return float((values.sum() - (values[0] + values[-1]) / 2) / (len(values) - 1))


def causal_curve(
    probability: Callable[[NDArray[np.float32]], NDArray[np.float64]],
    start: NDArray[np.float32],
    end: NDArray[np.float32],
    order: NDArray[np.intp],
    *,
    step: int,
    batch_size: int,
) -> NDArray[np.float64]:
    """Probability of a class while one image turns into another, pixel by pixel.

    Parameters
    ----------
    probability : callable
        From images (N, C, H, W) to the class's probabilities (N,).
    start, end : ndarray of float32, shape (C, H, W)
    order : ndarray of int, shape (H * W,)
        Pixels, row by row, in the order in which they change.
    step : int
        Pixels that change between two points of the curve.
    batch_size : int
        Images that are asked for at once.

    Returns
    -------
    ndarray of float64, shape (ceil(H * W / step) + 1,)
        From `start` to `end`.
    """
    pixels = order.size
    points = math.ceil(pixels / step) + 1
    curve: list[NDArray[np.float64]] = []
    current = start.reshape(len(start), pixels).copy()
    final = end.reshape(len(end), pixels)
    for first in range(0, points, batch_size):
        batch = []
        for point in range(first, min(first + batch_size, points)):
            changed = order[max(point - 1, 0) * step : point * step]
            current[:, changed] = final[:, changed]
            batch.append(current.reshape(start.shape).copy())
        curve.append(probability(np.stack(batch)))
    return np.concatenate(curve)


class CausalScorer:
    """Insertion and deletion over images that are added one at a time.

    Parameters
    ----------
    predict : callable
        From a tensor of images (N, C, H, W) to unnormalized class scores (N, classes): a module
        in evaluation mode.
    steps : int
        Points of a curve, without the first.
    insertion_start, deletion_end : {'blur', 'zero', 'mean'}
        What an image is without its pixels; see `filled`.
    batch_size : int
        Images per forward pass.
    device : str
        Where `predict` wants its images.
    seed : int
        Of the bootstrap.
    """

    def __init__(
        self,
        predict: Callable[[Tensor], Tensor],
        *,
        steps: int = 224,
        insertion_start: Fill = "blur",
        deletion_end: Fill = "zero",
        batch_size: int = 32,
        device: str = "cpu",
        seed: int = 0,
    ) -> None:
        for fill in (insertion_start, deletion_end):
            if fill not in get_args(Fill):
                raise ScoreError(f"there is no fill {fill!r}. {choices_hint(fill, get_args(Fill))}")
        if steps < 1 or batch_size < 1:
            raise ScoreError(
                f"steps and batch size must be 1 or more, but are {steps} and {batch_size}"
            )
        self._predict, self._steps = predict, steps
        self._fills = (insertion_start, deletion_end)
        self._batch_size, self._device, self._seed = batch_size, device, seed
        self._areas: list[tuple[float, ...]] = []

    def add(
        self, image: NDArray[np.float32] | Tensor, map_: ArrayLike, *, label: int, name: str
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Add one image.

        Parameters
        ----------
        image : ndarray or Tensor of float32, shape (C, H, W)
            As the classifier takes it, normalized.
        map_ : array_like, shape (h, w)
            Map of the class; any finite values; scaled to the image's size (bilinear).
        label : int
            The class.
        name : str
            The image's id, for messages.

        Returns
        -------
        insertion, deletion : ndarray of float64, shape (points,)
            The curves. Of pixels of equal value the first, row by row, changes first.

        Raises
        ------
        ScoreError
            If the map is no such map, the image is no such image, or there is no such class.
        """
        array = _as_array(image)
        if array.ndim != 3 or not array.size or not np.isfinite(array).all():
            raise ScoreError(
                f"image {name}: must be finite, of shape (channels, height, width), but has shape "
                f"{array.shape} or holds NaN or infinity"
            )
        size = (array.shape[1], array.shape[2])
        found = self._curves(array, resize_map(check_map(map_, name=name), size), label, name)
        center = self._curves(array, _towards_center(size), label, name)
        self._areas.append(tuple(trapezoid_area(curve) for curve in (*found, *center)))
        return found

    def _curves(
        self, image: NDArray[np.float32], map_: NDArray[np.float64], label: int, name: str
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        order = np.argsort(-map_, axis=None, kind="stable")
        step = math.ceil(order.size / self._steps)
        insertion_start, deletion_end = (filled(image, fill) for fill in self._fills)

        def probability(batch: NDArray[np.float32]) -> NDArray[np.float64]:
            return self._probabilities(batch, label, name)

        options = {"step": step, "batch_size": self._batch_size}
        insertion = causal_curve(probability, insertion_start, image, order, **options)
        deletion = causal_curve(probability, image, deletion_end, order, **options)
        return insertion, deletion

    def _probabilities(
        self, batch: NDArray[np.float32], label: int, name: str
    ) -> NDArray[np.float64]:
        import torch

        with torch.inference_mode():
            scores = self._predict(torch.from_numpy(batch).to(self._device))
            if not 0 <= label < scores.shape[1]:
                raise ScoreError(
                    f"image {name}: the class must be in 0 to {scores.shape[1] - 1}, but is {label}"
                )
            proportions = torch.softmax(scores.double(), dim=1)[:, label]
        return np.asarray(proportions.cpu().numpy(), dtype=np.float64)

    def scores(self, *, dataset: str = "") -> Scores:
        """Score what was added.

        Returns
        -------
        Scores
            Estimates ``insertion_auc`` (higher is better) and ``deletion_auc`` (lower is better).

        Raises
        ------
        ScoreError
            If nothing was added.
        """
        if not self._areas:
            raise ScoreError("insertion and deletion need at least one image, but there is none")
        areas = np.array(self._areas)
        start, end = self._fills
        return Scores(
            protocol="insertion and deletion",
            dataset=dataset,
            estimates=self._estimates(areas[:, :2]),
            baselines=(
                Baseline(
                    "center first",
                    "pixels in the order of their distance from the image's center",
                    self._estimates(areas[:, 2:]),
                ),
            ),
            counts={"scored": len(areas)},
            notes=(f"insertion starts from {start}, deletion ends at {end}",),
        )

    def _estimates(self, areas: NDArray[np.float64]) -> tuple[Estimate, Estimate]:
        return (
            mean_estimate("insertion_auc", areas[:, 0], seed=self._seed),
            mean_estimate("deletion_auc", areas[:, 1], higher_is_better=False, seed=self._seed),
        )


def _towards_center(size: tuple[int, int]) -> NDArray[np.float64]:
    """Map whose value falls with the distance from the center."""
    y, x = np.indices(size)
    distance: NDArray[np.float64] = np.hypot(y - (size[0] - 1) / 2, x - (size[1] - 1) / 2)
    return -distance


def _as_array(image: NDArray[np.float32] | Tensor) -> NDArray[np.float32]:
    if isinstance(image, np.ndarray):
        return image.astype(np.float32)
    return np.asarray(image.detach().cpu().numpy(), dtype=np.float32)
