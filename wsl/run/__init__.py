"""A dataset through a localizer, on disk.

`config` is the schema of a configuration file; `rows` and `maps` define a chunk's files, `folder`
the run's folder, `lock` who works in it; `stages` are the steps of the work, ``engines`` puts them
together on this machine or on many; `runner` opens what a configuration names and does the chunks
that are missing; `status` says how far a run is; `opened` opens one that was made before.
"""
