"""Several objects of a class in an image: the components of a mask as objects of their own."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from wsl.export.base import Context, ExportFormat, Proportion
from wsl.localize.prediction import Localization, Prediction
from wsl.masks import components, mask_to_box


class InstanceFormat(ExportFormat):
    """A format that can tell objects of one class apart."""

    instances: bool = False
    """Whether each 8-connected component of a mask is an object of its own. The run must have kept
    all components (``localize.components: all``)."""

    min_instance: Proportion = 0.05
    """Least area of an instance, as a fraction of the area of the mask's largest component; smaller
    components are left out where `instances` is set."""

    def notes(self, counts: Counter[str], context: Context) -> list[str]:
        """Add remarks on components."""
        notes = super().notes(counts, context)
        if self.instances and counts["small components"]:
            notes.append(
                f"{counts['small components']:,} components were too small to be instances"
            )
        kept = context.run.info.config.get("localize", {}).get("components")
        if self.instances and kept == "largest":
            notes.append("the run kept only the largest component of each mask")
        return notes


def split_instances(image: Prediction, *, min_area: float) -> tuple[Prediction, int]:
    """Turn each component of an image's masks into a localization.

    Parameters
    ----------
    image : Prediction
    min_area : float
        Least area, as a fraction of that of the mask's largest component.

    Returns
    -------
    image : Prediction
        The largest component of a mask comes first and keeps the run's box; the others have the
        tightest boxes around them. A localization without a mask stays as it is.
    dropped : int
        Number of components that were too small.
    """
    found: list[Localization] = []
    dropped = 0
    for one in image.localizations:
        parts = components(one.mask)
        large = [part for part in parts if part.sum() >= min_area * parts[0].sum()]
        dropped += len(parts) - len(large)
        found += [
            replace(one, mask=part, box=one.box if at == 0 and one.box else mask_to_box(part))
            for at, part in enumerate(large)
        ] or [one]
    return replace(image, localizations=tuple(found)), dropped
