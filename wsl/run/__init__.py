"""A dataset through a localizer, on disk.

`config` is the schema of a configuration file. `rows` and `maps` define a chunk's files, `chunk`
writes them, and `folder`, `info` and `lock` are the run's folder. `stages` are the steps of the
work, and ``engines`` connect them on this machine or on many. `runner` opens what a configuration
names and does the missing chunks; `status` reads how far a run is; `opened` opens an earlier run.
"""
