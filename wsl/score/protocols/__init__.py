"""The score protocols: one file each, joined here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, get_args

from pydantic import Field

from wsl.config.options import Options
from wsl.score.protocols.boundary import BoundaryOptions
from wsl.score.protocols.coco import CocoOptions
from wsl.score.protocols.diagnosis import DiagnosisOptions
from wsl.score.protocols.heatmap import HeatmapOptions
from wsl.score.protocols.ilsvrc import IlsvrcOptions
from wsl.score.protocols.mask_iou import MaskIoUOptions
from wsl.score.protocols.max_box_acc import MaxBoxAccOptions
from wsl.score.protocols.pointing import PointingOptions
from wsl.score.protocols.pxap import PxAPOptions

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


class ScoreConfig(Options):
    """The keys that ``wsl score --set`` takes beside those of the data."""

    score: ProtocolOptions = Field(default_factory=IlsvrcOptions)
    """How a run is scored."""


def protocol_lines() -> Iterator[tuple[str, str]]:
    """Yield the name of each protocol and what it scores."""
    for model in get_args(get_args(ProtocolOptions)[0]):
        yield model.model_fields["protocol"].default, model.summary
