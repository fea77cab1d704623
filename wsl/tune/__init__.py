"""Settings of segmentation chosen on annotated images.

The saliency maps are computed once (`maps`); masks and boxes are then made again and again with
other settings, which is cheap, and compared with the truth (`ious`). `space` names the settings to
try, `search` decides which to try next, `result` holds the estimates, and `tuner` puts these
together.
"""
