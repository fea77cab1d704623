"""Kills a run, an export, a report or a tuning at random moments, and has it done again.

    python kill_driver.py run|export|report|tune FOLDER KILLS SEED

The work is done in forks of this process, which has imported everything and started no thread, so
that twenty kills take seconds. Work that was killed is started again until it ends; then its files
must be those of the work that nothing disturbed, and it begins anew.
"""

import os
import random
import signal
import sys
import time
from pathlib import Path

import torch
from export_cases import hard_predictions, write_images, write_run
from small_runs import classifier, config, draw_photos
from tuning_cases import config as tuning_config
from tuning_cases import draw_dataset

from wsl.export.export import export_run
from wsl.export.formats.coco import CocoFormat
from wsl.report.from_run import report_run
from wsl.report.gallery import PictureOptions
from wsl.report.page import build_report
from wsl.run.engines import local
from wsl.run.folder import RunFolder
from wsl.run.opened import open_run
from wsl.run.runner import run_dataset
from wsl.run.status import read_status
from wsl.tune.result import write_tuning
from wsl.tune.space import SearchSpace
from wsl.tune.tuner import store_maps, tune

SPACE = SearchSpace({"localize.seeds.foreground": (0.7, 0.8, 0.9)})


def run(root):
    photos = draw_photos(root / "photos")
    settings = config(photos, run__chunk_size=8, run__maps=True)
    local._KEEP_EVERY = 0

    def work(out):
        if (out / "run.json").exists():
            assert not read_status(out).damaged
        assert not list(RunFolder(out).clear({0: 8, 1: 3}, maps=True, thorough=True))
        run_dataset(settings, out, classifier=classifier())

    return work, "[pm]*/*part-*"


def export(root):
    predictions = hard_predictions()
    source = write_run(root / "source", predictions)
    dataset = write_images(root / "images", predictions)
    options = CocoFormat(images="copy")
    return lambda out: export_run(source, out, options, dataset=dataset), "**/*"


def report(root):
    settings = tuning_config(draw_dataset(root / "data"))
    child = os.fork()
    if child == 0:  # a run starts threads, after which this process could not fork
        torch.set_num_threads(1)
        run_dataset(settings, root / "source", classifier=classifier())
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0

    def work(out):
        described = report_run(open_run(root / "source"), pictures=False)
        build_report([described], out, pictures=PictureOptions(count=0))

    return work, "index.html"


def tuning(root):
    settings = tuning_config(draw_dataset(root / "data"))

    def work(out):
        store = store_maps(settings, SPACE, out, classifier=classifier())
        write_tuning(tune(store, SPACE), settings, out)

    return work, "tun*"


def forked(work, out, *, limit=None):
    """Do the work in a fork; True if it was killed after `limit` seconds."""
    child = os.fork()
    if child == 0:
        torch.set_num_threads(1)
        try:
            work(out)
        except BaseException as error:
            print(repr(error), file=sys.stderr)
            os._exit(1)
        os._exit(0)
    if limit is not None:
        time.sleep(limit)
        os.kill(child, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status == 0 or (limit is not None and status == -signal.SIGKILL), status
    return status != 0


def files(folder, pattern):
    return {
        path.relative_to(folder): path.read_bytes()
        for path in folder.glob(pattern)
        if path.is_file()
    }


def main():
    what, root, kills, seed = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    work, pattern = {"run": run, "export": export, "report": report, "tune": tuning}[what](root)
    begin = time.monotonic()
    forked(work, root / "whole")
    spent = time.monotonic() - begin
    wanted = files(root / "whole", pattern)
    assert wanted
    moments, ended = random.Random(seed), 0
    while kills or not ended:
        out = root / f"killed {ended}"
        limit = moments.uniform(0, spent / 2) if kills else None
        if forked(work, out, limit=limit):
            kills -= 1
        else:
            assert files(out, pattern) == wanted
            ended += 1


if __name__ == "__main__":
    main()
