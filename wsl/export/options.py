"""Options of an export, for all formats; a format refuses those that mean nothing to it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from wsl.config import Options

__all__ = ["ClassChoice", "ExportOptions", "ImageMode", "Shape"]

ClassChoice = Literal["ground_truth", "top1", "all"]
ImageMode = Literal["link", "copy", "none"]
Shape = Literal["mask", "polygon", "box"]
Share = Annotated[float, Field(ge=0, le=1)]


class ExportOptions(Options):
    """What goes into an export, and how."""

    classes: ClassChoice | None = None
    """Which classes of an image: its given label (``ground_truth``), the classifier's first
    (``top1``), or every class that the run localized (``all``). None: the given labels if the run
    has any, else ``top1``; for ``ilsvrc`` always ``all``, the classifier's first five."""

    min_score: Share | None = None
    """Leave out localizations whose class is less probable than this."""

    min_quality: Share | None = None
    """Leave out localizations of lower quality than this, and those without a quality."""

    top_fraction: Annotated[float, Field(gt=0, le=1)] | None = None
    """Keep this share of what the other options leave, the best by quality: the smallest number
    that is at least this share, and with the last one kept all that are equally good."""

    keep_best_within: Literal["class", "all"] = "class"
    """Whether `top_fraction` is taken of each class, which keeps the classes in proportion, or
    of all localizations together, which prefers the easy classes."""

    shapes: tuple[Shape, ...] | None = None
    """How an object is written, where the format leaves the choice. ``coco``: one of mask (run
    lengths; the default), polygon (masks with holes stay run lengths), box. ``yolo``: box (the
    default) or polygon. ``cvat``: any of mask (the default), polygon, box. ``label_studio``: any
    of them, box and mask by default."""

    images: ImageMode | None = None
    """Whether the images are put beside what is said of them, as symbolic links or copies. None:
    links where the format cannot be read without its images (``voc``, ``yolo``,
    ``image_folder``), otherwise not at all."""

    empty_images: bool | None = None
    """Whether images without a mask go in as images without objects; they are listed in
    ``without_mask.csv`` in any case. None: only for ``cvat`` and ``label_studio``, where a person
    can add what is missing. A network would take such an image for plain background."""

    split: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=40)] = "train"
    """Name of the part of the dataset, such as train or val, where the format asks for one."""

    boundary_ignore: Share = 0.01
    """Share of the image's diagonal: a pixel with another label within this distance is uncertain
    and gets the ignore value, in ``voc`` and ``segmentation``. 0: no pixel."""

    boundary_ignore_pixels: Annotated[float, Field(ge=0)] | None = None
    """The same distance in pixels, instead of `boundary_ignore`."""

    overlap_smoothing: Share = 0.02
    """Share of the image's diagonal: standard deviation of the Gaussian that smooths saliency maps
    before they are compared where masks overlap, in ``voc`` and ``segmentation``."""

    foreground_only: bool = False
    """Whether all classes become the one class 1, in ``voc`` and ``segmentation``."""

    map_format: Literal["png", "npy"] = "png"
    """Saliency maps as 16-bit PNG, scaled to their maximum (which ``maps.csv`` holds), or as
    float32 arrays as they are."""

    ilsvrc_map: Path | None = None
    """Text file with one WNID and its ILSVRC id (1 to 1000) per line, in either order; for
    ``ilsvrc``."""

    image_url: str = "/data/local-files/?d={path}"
    """Where Label Studio finds an image; ``{path}`` stands for its path below the dataset's root
    (or in the export, where images go in), percent-encoded."""

    tasks_per_file: Annotated[int, Field(ge=1)] = 5000
    """Label Studio refuses uploads that are too large: at most so many tasks go into one file."""

    allow_partial: bool = False
    """Whether a run that has not finished may be exported as far as it got."""

    @model_validator(mode="after")
    def _shares_go_together(self) -> Self:
        if self.top_fraction is None and "keep_best_within" in self.model_fields_set:
            raise ValueError("keep_best_within must come with top_fraction")
        if self.shapes is not None and (
            not self.shapes or len(set(self.shapes)) < len(self.shapes)
        ):
            raise ValueError("shapes must name each shape once, and at least one")
        if "{path}" not in self.image_url:
            raise ValueError("image_url must contain {path}")
        return self
