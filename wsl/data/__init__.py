"""What goes in: datasets of samples and annotations, image decoding, and geometry.

`open_dataset` makes a `Dataset` from `DataOptions`; there is one file per format. The libraries
that decode images are imported when a name that needs them is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from wsl.data.options import DEFAULT_MAX_PIXELS, DataOptions

if TYPE_CHECKING:
    from wsl.data.categories import Categories
    from wsl.data.images import image_size, load_image, to_rgb
    from wsl.data.open import dataset_fingerprint, open_dataset
    from wsl.data.sample import Annotation, Dataset, Instance, Sample

__all__ = [
    "DEFAULT_MAX_PIXELS",
    "Annotation",
    "Categories",
    "DataOptions",
    "Dataset",
    "Instance",
    "Sample",
    "dataset_fingerprint",
    "image_size",
    "load_image",
    "open_dataset",
    "to_rgb",
]

_HOMES = {
    "Annotation": "wsl.data.sample",
    "Categories": "wsl.data.categories",
    "Dataset": "wsl.data.sample",
    "Instance": "wsl.data.sample",
    "Sample": "wsl.data.sample",
    "dataset_fingerprint": "wsl.data.open",
    "image_size": "wsl.data.images",
    "load_image": "wsl.data.images",
    "open_dataset": "wsl.data.open",
    "to_rgb": "wsl.data.images",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
