"""From a saliency map to a mask and a box.

Along the way of the data: `seeds` (map to seeds), `grabcut` (seeds to mask), `prediction` (what
comes out), `localizer` (the whole way, from an image on).
"""
