"""What goes in: datasets of samples and annotations, image decoding, and geometry.

`open.open_dataset` makes a `Dataset` from `DataOptions`; ``readers`` has one file per format.
"""
