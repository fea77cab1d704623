"""Starts two processes at once into the same folder, for each of some cases.

    python writers_driver.py FOLDER

They are forks of this process, which has imported everything; each waits for the other before it
begins. On standard output, one line each: the case, a tab, and ``done`` or the error.
"""

import os
import sys
from pathlib import Path

import torch
from export_cases import hard_predictions, write_run
from small_runs import classifier, config, draw_photos

from wsl.errors import WslError
from wsl.export.export import export_run
from wsl.export.formats.coco import CocoFormat
from wsl.run.runner import run_dataset
from wsl.run.shard import Shard

PHOTOS, SOURCE = Path("photos"), Path("source")


def run(out, shard="0/1", **changes):
    settings = config(PHOTOS, **changes)
    run_dataset(settings, out, classifier=classifier(), shard=Shard.parse(shard))


CASES = {
    "same": [run, run],
    "other": [run, lambda out: run(out, seed=1)],
    "shards": [lambda out: run(out, "0/2"), lambda out: run(out, "1/2")],
    "same shard": [lambda out: run(out, "0/2"), lambda out: run(out, "0/2")],
    "other shards": [lambda out: run(out, "0/2"), lambda out: run(out, "1/3")],
    "export": 2 * [lambda out: export_run(SOURCE, out, CocoFormat())],
    "other export": [
        lambda out: export_run(SOURCE, out, CocoFormat()),
        lambda out: export_run(SOURCE, out, CocoFormat(split="val")),
    ],
}


def at_once(case):
    ready, go = os.pipe(), os.pipe()
    for work in CASES[case]:
        if os.fork() == 0:
            torch.set_num_threads(1)
            os.write(ready[1], b"x")
            os.read(go[0], 1)
            try:
                work(Path(case))
                said = "done"
            except WslError as error:
                said = f"{type(error).__name__}: {error}"
            os.write(1, f"{case}\t{said}\n".encode())
            os._exit(0)
    for _ in range(2):
        os.read(ready[0], 1)
    os.write(go[1], b"xx")
    for _ in range(2):
        assert os.wait()[1] == 0


def main():
    os.chdir(sys.argv[1])
    draw_photos(PHOTOS)
    write_run(SOURCE, hard_predictions())
    for case in CASES:
        at_once(case)


if __name__ == "__main__":
    main()
