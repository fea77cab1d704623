"""From a saliency map to a mask and a box.

In the order of the work: `image_maps` (maps in the image's coordinates), `seeds`, ``refiners``
(seeds to mask), `segment` (all of these), `quality`, `prediction` (the result), `localizer` (from
an image on).
"""
