"""The export formats: one file each, which describes what it writes; joined here."""

from __future__ import annotations

from typing import Annotated, get_args

from pydantic import Field

from wsl.export.base import ExportFormat
from wsl.export.formats.coco import CocoFormat
from wsl.export.formats.cvat import CvatFormat
from wsl.export.formats.ilsvrc import IlsvrcFormat
from wsl.export.formats.image_folder import ImageFolderFormat
from wsl.export.formats.label_studio import LabelStudioFormat
from wsl.export.formats.masks import MasksFormat
from wsl.export.formats.saliency_maps import SaliencyMapsFormat
from wsl.export.formats.segmentation import SegmentationFormat
from wsl.export.formats.tables import CsvFormat, ParquetFormat
from wsl.export.formats.voc import VocFormat
from wsl.export.formats.yolo import YoloFormat

AnyFormat = Annotated[
    CocoFormat
    | VocFormat
    | YoloFormat
    | SegmentationFormat
    | MasksFormat
    | ImageFolderFormat
    | IlsvrcFormat
    | LabelStudioFormat
    | CvatFormat
    | CsvFormat
    | ParquetFormat
    | SaliencyMapsFormat,
    Field(discriminator="format"),
]
"""Any format; a new one is one more line here."""

FORMATS: dict[str, type[ExportFormat]] = {
    get_args(member.model_fields["format"].annotation)[0]: member
    for member in get_args(get_args(AnyFormat)[0])
}
"""Formats by their names."""


def format_lines() -> list[tuple[str, str, str]]:
    """Name, label and summary of each format."""
    return [(name, each.label, each.summary) for name, each in FORMATS.items()]
