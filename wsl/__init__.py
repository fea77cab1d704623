"""wsl: weakly supervised localization, from an image classifier to scored boxes and masks.

The package along the data's way; each room imports only from those above it:

==============  ===================================================================================
`errors`        the exception tree
`boxes`         the box convention and its arithmetic
`masks`         masks: area, IoU, components, mask to box, COCO run lengths
`progress`      progress of long work
`storage`       files, local or in a store, written whole or not at all
`config`        the base of every stage's options; YAML, overrides, error messages
`data`          what goes in: samples, annotations, readers, image decoding, geometry
`demo`          the drawn dataset and its small classifier
`models`        a classifier: module, its own preprocessing, its categories
`saliency`      classifier, images and classes to saliency maps
`draw`          pictures: overlays, strips of the steps, attributions
`localize`      saliency to seeds, refinement, mask and box; `Localizer` is the front door
`run`           a dataset through a localizer: configuration, rows on disk, engines
`score`         predictions and annotations to estimates with intervals
`report`        estimates and pictures to one HTML page
`export`        masks and boxes to other tools' formats
`tune`          settings of refinement chosen on annotated images
`integrations`  pages and services of other tools: Gradio, Label Studio, MLflow
`cli`           the command ``wsl``
==============  ===================================================================================

>>> from wsl import Localizer, load_classifier
>>> from wsl.demo.scene import draw_image
>>> localizer = Localizer(load_classifier("demo"), recipe="fast")  # or "resnet50"
>>> for found in localizer(draw_image(5, seed=0).image, top_k=1):  # or "dog.jpg"
...     print(found.category, found.mask.shape, found.box is not None)
mushroom (355, 318) True
"""

import lazy_loader

# The names are in __init__.pyi and are imported on first use, so that `import wsl` and
# `wsl --help` do not pay for torch.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__version__ = "0.1.0"
