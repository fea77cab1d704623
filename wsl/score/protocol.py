"""What all score protocols share: the base of their options, and how a run or its maps feed them.

A protocol is one file in `wsl.score.protocols`: a class of options with its name as the value of
``protocol`` and a method `ScoreOptions.compute`. It becomes part of ``wsl score`` by a place in
`wsl.score.protocols.ProtocolOptions`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from wsl.config.options import Options
from wsl.data.sample import Dataset, Sample
from wsl.errors import ScoreError
from wsl.run.folder import RunFolder
from wsl.run.tuned_on import TunedOn
from wsl.score.baselines import TrivialBoxes
from wsl.score.image_list import ImageList
from wsl.score.images import ScoredImage, only_class, scored_images
from wsl.score.result import Scores


class ScoreOptions(Options, ABC):
    """Options that all protocols have."""

    summary: ClassVar[str]
    """What is scored, in a few words: for help texts."""
    reference: ClassVar[str] = ""
    """The publication that defines the protocol."""

    center_side: float | None = Field(None, gt=0, le=1)
    """Side of the centered box that is scored as a baseline, as a fraction of the image's side;
    null takes the best side on the images that the run was tuned on, or else 0.75."""
    allow_partial: bool = False
    """Score an incomplete run, or an incomplete folder of maps: images without a prediction are
    left out and counted."""
    seed: int = 0
    """Seed of the bootstrap."""

    def score(self, folder: RunFolder | None, dataset: Dataset) -> Scores:
        """Score a run.

        Parameters
        ----------
        folder : RunFolder or None
            None where all that is scored is a folder of maps.
        dataset : Dataset
            What the run was made of, with annotations.

        Raises
        ------
        ScoreError
            If the run does not hold what the protocol needs; the message says how to make one
            that does.
        """
        config = folder.read_info().config if folder is not None else {}
        scores = self.compute(folder, dataset, self.boxes(config))
        notes = tuning_notes(config, dataset)
        return replace(scores, notes=(*scores.notes, *notes))

    @abstractmethod
    def compute(self, folder: RunFolder | None, dataset: Dataset, boxes: TrivialBoxes) -> Scores:
        """Score a run beside the trivial boxes."""

    def boxes(self, config: Mapping[str, Any]) -> TrivialBoxes:
        """Return the trivial boxes for a run with this effective configuration."""
        if self.center_side is not None:
            return TrivialBoxes(self.center_side, "given by score.center_side")
        tuned_on = config.get("tuned_on")
        if tuned_on:
            where = f"the best on {tuned_on['dataset']}, on which the settings were chosen"
            return TrivialBoxes(tuned_on["center_side"], where)
        return TrivialBoxes()


class MapOptions(ScoreOptions):
    """Options of the protocols that score saliency maps."""

    maps: Path | None = None
    """Folder of maps of the ground-truth classes, ``IMAGE_ID.npy``, ``.npz`` or ``.png``, to score
    instead of the run's own."""
    allow_other_sizes: bool = False
    """Score maps of images that the run had in another size than annotated, such as halved ones;
    they are laid over the annotated size."""

    def images(
        self,
        folder: RunFolder | None,
        dataset: Dataset,
        listed: ImageList,
        labels_of: Callable[[Sample], Sequence[int] | str] = only_class,
    ) -> Iterator[ScoredImage]:
        """Yield the annotated images with their maps; see `wsl.score.images.scored_images`."""
        return scored_images(
            dataset,
            folder,
            listed,
            maps=self.maps,
            with_maps=True,
            allow_other_sizes=self.allow_other_sizes,
            allow_partial=self.allow_partial,
            labels_of=labels_of,
        )


def needs_run(folder: RunFolder | None, protocol: str) -> RunFolder:
    """Return the folder; refuse that there is none."""
    if folder is None:
        raise ScoreError(f"the protocol {protocol} scores a run, not a folder of maps")
    return folder


def tuning_notes(config: Mapping[str, Any], dataset: Dataset) -> tuple[str, ...]:
    """Say whether a run's settings were chosen on the scored images; nothing if untuned.

    Parameters
    ----------
    config : mapping
        The run's effective configuration.
    dataset : Dataset
        What is scored.
    """
    tuned_on = config.get("tuned_on")
    return (TunedOn(**tuned_on).note(dataset),) if tuned_on else ()
