"""Settings of refinement chosen on annotated images.

The classifier sees each image once (`maps`); masks and boxes are then made again and again with
other settings, which is cheap (`boxes`). `space` names the settings to try, `search` decides which
of them to try next, `result` says what was found, and `tuner` puts these together.
"""
