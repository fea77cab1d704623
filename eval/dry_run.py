"""The scheduler's own cost: a run of 5,000 chunks whose work is empty.

    python eval/dry_run.py --out eval/results/dry_run.json

The local engine runs over a list of images that are not there; the stages give ready-made rows
(five classes an image, with a mask) at once. What is left is the scheduling, the rows and the
files. Counted is CPU time. Afterwards the folder is read as ``wsl run --status`` and a new start
read it.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

from dry_stages import NoImages, no_info, no_stages
from provenance import stamp

from wsl.run.config import build_config
from wsl.run.engines.local import LocalEngine
from wsl.run.folder import RunFolder
from wsl.run.progress import NoProgress
from wsl.run.status import read_status


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chunks", type=int, default=5000)
    parser.add_argument("--chunk-size", type=int, default=256)
    parser.add_argument("--work", type=float, required=True, help="CPU seconds of an image's work.")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    images = arguments.chunks * arguments.chunk_size
    config = build_config(
        {"run": {"chunk_size": arguments.chunk_size, "workers": 2}, "data": {"root": "none"}}
    )
    with tempfile.TemporaryDirectory() as place:
        folder = RunFolder(Path(place) / "run")
        dataset = NoImages(images)
        folder.begin(no_info(config, images))
        engine = LocalEngine(no_stages(config), dataset, folder, progress=NoProgress())
        begin = time.process_time()
        engine.run(range(arguments.chunks))
        cost = time.process_time() - begin
        result = {
            "cpu_seconds": round(cost, 1),
            "cpu_ms_per_image": round(1000 * cost / images, 3),
            "share_of_the_work": round(cost / (arguments.work * images), 5),
            "bytes": sum(path.stat().st_size for path in folder.parts()),
            **reading(folder, arguments.chunks, arguments.chunk_size),
        }
    print(json.dumps(result, indent=1))
    if arguments.out:
        command = (
            f"python eval/dry_run.py --chunks {arguments.chunks} "
            f"--chunk-size {arguments.chunk_size} --work {arguments.work:g} "
            f"--out {arguments.out}"
        )
        content = {
            **stamp(command, ["pyarrow", "wsl-localize"]),
            "result": result,
        }
        arguments.out.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def reading(folder: RunFolder, chunks: int, size: int) -> dict[str, float]:
    """Seconds, by the clock and of the CPU, of what looks at the whole folder."""
    found = {}
    for name, look in (
        ("run.json", folder.read_info),
        ("missing", lambda: folder.missing_chunks(chunks)),
        ("status", lambda: read_status(folder.path)),
        (
            "check",
            lambda: list(folder.damaged_chunks(dict.fromkeys(range(chunks), size), maps=False)),
        ),
    ):
        clock, cpu = time.perf_counter(), time.process_time()
        look()
        found[f"{name}_seconds"] = round(time.perf_counter() - clock, 3)
        found[f"{name}_cpu_seconds"] = round(time.process_time() - cpu, 3)
    return found


if __name__ == "__main__":
    main()
