"""wsl: weakly supervised localization, from an image classifier to scored boxes and masks.

The package along the data's way; each folder imports only from those above it:

==============  ===================================================================================
`errors`        the exception tree
`options`       the base of every stage's options
`boxes`         the box convention and its arithmetic
`masks`         masks: area, IoU, components, mask to box, COCO run lengths
`data`          what goes in: samples, annotations, readers, image decoding, geometry
`models`        a classifier: module, its own preprocessing, its categories
`saliency`      classifier, images and classes to saliency maps
`localize`      saliency to seeds, GrabCut, mask and box; `Localizer` is the front door
`run`           a dataset through a localizer: records on disk and the engines
`score`         predictions and annotations to figures with intervals
`pictures`      overlays and strips
`report`        figures and pictures to one HTML page
`export`        masks and boxes to other tools' formats
`tune`          the settings of refinement that are best on annotated images
`demo`          the drawn dataset and its small classifier
`config`        the schema of a configuration file
`cli`           the command ``wsl``
==============  ===================================================================================

>>> from wsl import Localizer, load_classifier  # doctest: +SKIP
>>> localizer = Localizer(load_classifier("resnet50"))  # doctest: +SKIP
>>> for found in localizer("dog.jpg", top_k=5):  # doctest: +SKIP
...     print(found.category, found.score, found.box)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wsl.config import RunConfig, load_config
    from wsl.errors import WslError
    from wsl.localize.localizer import Localizer
    from wsl.models import Classifier, load_classifier
    from wsl.run import run_dataset

__version__ = "0.1.0"

__all__ = [
    "Classifier",
    "Localizer",
    "RunConfig",
    "WslError",
    "__version__",
    "load_classifier",
    "load_config",
    "run_dataset",
]

# Names resolved on first use, so that `import wsl` and `wsl --help` do not pay for torch.
_HOMES = {
    "Classifier": "wsl.models",
    "Localizer": "wsl.localize.localizer",
    "RunConfig": "wsl.config",
    "WslError": "wsl.errors",
    "load_classifier": "wsl.models",
    "load_config": "wsl.config",
    "run_dataset": "wsl.run",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'wsl' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
