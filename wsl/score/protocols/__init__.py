"""The score protocols: one file each, joined here."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from wsl.score.protocols.boundary import BoundaryOptions
from wsl.score.protocols.coco import CocoOptions
from wsl.score.protocols.diagnosis import DiagnosisOptions
from wsl.score.protocols.heatmap import HeatmapOptions
from wsl.score.protocols.ilsvrc import IlsvrcOptions
from wsl.score.protocols.mask_iou import MaskIoUOptions
from wsl.score.protocols.max_box_acc import MaxBoxAccOptions
from wsl.score.protocols.pointing import PointingOptions
from wsl.score.protocols.pxap import PxAPOptions

__all__ = ["ProtocolOptions"]

ProtocolOptions = Annotated[
    IlsvrcOptions
    | DiagnosisOptions
    | MaskIoUOptions
    | BoundaryOptions
    | CocoOptions
    | MaxBoxAccOptions
    | PxAPOptions
    | HeatmapOptions
    | PointingOptions,
    Field(discriminator="protocol"),
]
"""Options of a score protocol, by its name."""
