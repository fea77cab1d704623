"""A dataset through a localizer, on disk.

`records` defines the rows of a part file, `folder` the run's folder, `engine` the local engine.
"""
