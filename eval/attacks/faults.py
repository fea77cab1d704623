"""Kills and faults of whole commands: afterwards the same command must end in the same files."""

# ruff: noqa: E501 - arguments stand in rows

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from eval.attacks.driver import Outcome, Started, call, start, wait

Row = tuple[str, str, list[str], Outcome | None]

_OPTIONS = [
    "--model", "demo", "--recipe", "plain", "--set", "run.chunk_size=4", "--set", "run.batch_size=2",
    "--set", "run.workers=2", "--set", "run.maps=true", "--set", "classes.select=ground_truth",
]  # fmt: skip
_IMAGES = 12


def draw(root: Path) -> Path:
    """Draw annotated images of the demo's classes in ILSVRC's layout."""
    from wsl.demo.draw import CATEGORIES, draw_image

    images = root / "Data/CLS-LOC/val"
    images.mkdir(parents=True)
    rows = ["ImageId,PredictionString"]
    for number in range(_IMAGES):
        drawn = draw_image(number, seed=7)
        Image.fromarray(np.asarray(drawn.image)[::2, ::2]).save(images / f"v{number:02d}.png")
        rows.append(f"v{number:02d},{CATEGORIES.ids[number % len(CATEGORIES.ids)]} 5 5 60 60")
    (root / "LOC_val_solution.csv").write_text("\n".join(rows) + "\n")
    pairs = zip(CATEGORIES.ids, CATEGORIES.names, strict=True)
    (root / "LOC_synset_mapping.txt").write_text("\n".join(f"{i} {n}" for i, n in pairs) + "\n")
    return root


def run_arguments(data: Path, out: Path, *more: str) -> list[str]:
    """Return the arguments of a run over the drawn images."""
    return ["run", str(data), "--data", "ilsvrc", "--out", str(out), *_OPTIONS, *more]


def whole_run(work: Path) -> Path:
    """Make a run that nothing disturbs: WORK/data and WORK/run."""
    data = work / "data"
    if os.fork() == 0:  # drawing starts threads, after which this process could not fork
        draw(data)
        os._exit(0)
    os.wait()
    done = call(run_arguments(data, work / "run"), work / "output", limit=600)
    if done.status != 0:
        raise RuntimeError(f"the undisturbed run fails: {done.err}")
    return work


def files(folder: Path, patterns: tuple[str, ...]) -> dict[str, str]:
    """Hashes of files by their paths."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for pattern in patterns
        for path in sorted(folder.glob(pattern))
        if path.is_file()
    }


class Commands:
    """The commands that are killed, with the files that each must end in."""

    def __init__(self, whole: Path, work: Path) -> None:
        self.whole, self.work = whole, work
        self.made: dict[str, tuple[dict[str, str], float]] = {}

    def arguments(self, what: str, out: Path) -> list[str]:
        """Return what is called; it writes into `out` alone."""
        run = str(self.whole / "run")
        return {
            "run": lambda: run_arguments(self.whole / "data", out),
            "export": lambda: ["export", run, "--format", "coco", "--out", str(out)],
            "report": lambda: ["report", run, "--pictures", "4", "--out", str(out)],
            "score": lambda: ["score", run, "--out", str(out / "scores.json")],
            "tune": lambda: [
                "tune", "plain", "--out", str(out), "--grid", "localize.seeds.foreground=[0.8,0.9,0.95]",
                "--set", "model.source=demo", "--set", "model.architecture=null",
                "--set", "data.format=ilsvrc", "--set", f"data.root={self.whole / 'data'}",
                "--set", "run.workers=2", "--set", "run.chunk_size=4",
            ],
        }[what]()  # fmt: skip

    def expected(self, what: str) -> tuple[dict[str, str], float]:
        """Files of the undisturbed command, and the seconds it takes."""
        if what not in self.made:
            out = self.work / f"whole {what}"
            out.mkdir(parents=True)
            shutil.rmtree(out)
            done = call(self.arguments(what, out), self.work / "output", limit=600)
            if done.status != 0:
                raise RuntimeError(f"the undisturbed {what} fails: {done.err}")
            self.made[what] = files(out, self.patterns(what)), done.seconds
        return self.made[what]

    @staticmethod
    def patterns(what: str) -> tuple[str, ...]:
        """Files whose content does not tell of time."""
        return {
            "run": ("predictions/*.parquet", "maps/*.npz"),
            "export": ("**/*",),
            "report": ("index.html",),
            "score": ("scores.json",),
            "tune": ("tuned.yaml", "tuning.json"),
        }[what]

    def again(self, what: str, out: Path) -> tuple[list[str], Outcome]:
        """Call it until it ends; what is wrong with what it leaves."""
        done = call(self.arguments(what, out), self.work / "output", limit=600)
        finds = done.finds
        if done.status != 0:
            finds.append(f"does not go on: {done.err.strip()[-300:]}")
        elif files(out, self.patterns(what)) != self.expected(what)[0]:
            finds.append("lost or changed results")
        left = [path.name for path in out.rglob("*.tmp")]
        if left:
            finds.append(f"left {left[:3]}")
        return finds, done


def all_faults(work: Path, whole: Path, only: set[str]) -> Iterator[Row]:
    """Cause all faults, one after the other."""
    commands = Commands(whole, work)
    for group, make in (
        ("kills", _kills), ("signals", _signals), ("disks", _disks), ("damage", _damage),
        ("folders", _folders), ("writers", _writers), ("clocks", _clocks), ("images change", _changing),
    ):  # fmt: skip
        if not only or group in only:
            for name, finds, outcome in make(commands):
                yield group, name, finds, outcome


_Rows = Iterator[tuple[str, list[str], Outcome | None]]


def _kills(commands: Commands, *, each: int = 6) -> _Rows:
    """Kill -9 at random moments; each command is killed several times before it may end."""
    moments = random.Random(1)
    for what in ("run", "export", "report", "score", "tune"):
        _, spent = commands.expected(what)
        out = commands.work / f"killed {what}"
        for kill in range(each):
            limit = moments.uniform(0, spent)
            process = start(commands.arguments(what, out), commands.work / "output")
            time.sleep(limit)
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
            ended = wait(process)
            finds = [] if ended.status in (0, -signal.SIGKILL) else ended.finds
            if kill % 2:  # after every second kill it may end
                more, ended = commands.again(what, out)
                finds += more
                shutil.rmtree(out)
            yield f"{what} killed after {limit:.2f} of {spent:.2f} s", finds, ended


def _signals(commands: Commands) -> _Rows:
    for number in (signal.SIGTERM, signal.SIGINT):
        for what in ("run", "tune", "export"):
            _, spent = commands.expected(what)
            out = commands.work / f"stopped {what} {number}"
            process = start(commands.arguments(what, out), commands.work / "output")
            time.sleep(0.6 * spent)
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, number)
            ended = wait(process)
            finds = ended.finds + ([] if ended.status in (0, 130) else [f"status {ended.status}"])
            more, _ = commands.again(what, out)
            yield f"{what}: {number.name}", finds + more, ended
    _, spent = commands.expected("run")
    out = commands.work / "suspended"
    process = start(
        [*commands.arguments("run", out), "--set", "run.time_limit=2"], commands.work / "output"
    )
    time.sleep(0.5 * spent)
    os.kill(process.pid, signal.SIGSTOP)
    time.sleep(6)
    os.kill(process.pid, signal.SIGCONT)
    ended = wait(process)
    more, _ = commands.again("run", out)
    yield "run suspended for longer than its time limit", ended.finds + more, ended


@contextlib.contextmanager
def _small_disk(place: Path, size: str) -> Iterator[Path]:
    place.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def _refused(ended: Outcome, *words: str) -> list[str]:
    """Check that a command ended with one line that says one of `words`."""
    finds = ended.finds
    last = (ended.err.strip().splitlines() or [""])[-1]
    if (
        ended.status != 1
        or not last.startswith("wsl: error: ")
        or not any(w in last for w in words)
    ):
        finds.append(f"status {ended.status}: {last[:300]!r}")
    return finds


def _disks(commands: Commands) -> _Rows:
    for what in ("run", "score", "report", "export", "tune"):
        with _small_disk(commands.work / f"full {what}", "4m") as disk:
            filler = disk / "filler"
            with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
                while True:
                    file.write(bytes(4096))
            ended = call(commands.arguments(what, disk / "out"), commands.work / "output")
            filler.unlink()
            more, _ = commands.again(what, disk / "out")
            yield f"{what} on a full disk", _refused(ended, "No space left") + more, ended
        with _small_disk(commands.work / f"read-only {what}", "4m") as disk:
            subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
            ended = call(commands.arguments(what, disk / "out"), commands.work / "output")
            yield f"{what} on a read-only disk", _refused(ended, "Read-only file system"), ended
        out = commands.work / f"limited {what}"
        ended = call(
            commands.arguments(what, out), commands.work / "output", prepare=_small_files_only
        )
        more, _ = commands.again(what, out)
        yield (
            f"{what} with files of at most 200 bytes",
            _refused(ended, "File too large") + more,
            ended,
        )


def _small_files_only() -> None:
    """Let no file grow over 200 bytes; standard output and error are pipes to nowhere then."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    error = os.open("/dev/shm/wsl-attacks", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.close(error)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200))


def _damage(commands: Commands) -> _Rows:
    def cut(content: bytes) -> bytes:
        return content[: len(content) // 2]

    def flip(content: bytes) -> bytes:
        return bytes(b ^ 0xFF if n % 50 == 0 else b for n, b in enumerate(content))

    changes: dict[str, Callable[[bytes], bytes]] = {
        "cut": cut, "flipped": flip, "emptied": lambda content: b"",
    }  # fmt: skip
    for name, change in changes.items():
        for path in ("predictions/part-00001.parquet", "maps/part-00001.npz"):
            out = shutil.copytree(
                commands.whole / "run", commands.work / f"damaged {name} {path[:4]}"
            )
            file = out / path
            file.write_bytes(change(file.read_bytes()))
            verify = ["--verify"] if name == "flipped" else []
            ended = call([*commands.arguments("run", out), *verify], commands.work / "output")
            finds = ended.finds
            if files(out, commands.patterns("run")) != commands.expected("run")[0]:
                finds.append("not made again")
            yield f"{path} {name}", finds, ended
        out = shutil.copytree(commands.whole / "run", commands.work / f"damaged {name} json")
        (out / "run.json").write_bytes(change((out / "run.json").read_bytes()))
        ended = call(commands.arguments("run", out), commands.work / "output")
        finds = _refused(ended, "run.json")
        if files(out, commands.patterns("run")) != commands.expected("run")[0]:
            finds.append("lost results")
        yield f"run.json {name}", finds, ended


def _folders(commands: Commands) -> _Rows:
    for what in ("run", "export", "tune"):
        _, spent = commands.expected(what)
        out = commands.work / f"removed {what}"
        process = start(commands.arguments(what, out), commands.work / "output")
        time.sleep(0.7 * spent)
        shutil.rmtree(out, ignore_errors=True)
        ended = wait(process)
        more, _ = commands.again(what, out)
        yield f"folder of {what} removed in the middle", ended.finds + more, ended


def _writers(commands: Commands) -> _Rows:
    cases = {
        "same settings": ([], []),
        "other settings": ([], ["--set", "seed=1"]),
        "two shards": (["--shard", "0/2"], ["--shard", "1/2"]),
        "one shard twice": (["--shard", "0/2"], ["--shard", "0/2"]),
        "other shards": (["--shard", "0/2"], ["--shard", "1/3"]),
    }
    for name, both in cases.items():
        out = commands.work / f"writers {name}"
        processes: list[Started] = [
            start([*commands.arguments("run", out), *more], commands.work / f"output {number}")
            for number, more in enumerate(both)
        ]
        ended = [wait(process, limit=300) for process in processes]
        finds = [find for one in ended for find in one.finds]
        refused = [one for one in ended if one.status == 1]
        if name == "two shards" and refused:
            finds.append(f"refused: {refused[0].err[-200:]}")
        if len(refused) == 2:
            finds.append("both refused")
        seed = json.loads((out / "run.json").read_text())["config"]["seed"]
        if seed == 0:
            more, _ = commands.again("run", out)
            finds += more
        yield f"two writers: {name}", finds, ended[0]


# The clock of the day, as all libraries of the process see it, moved as soon as a file is there.
_CLOCK = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
static long moved(void) {
    return access(getenv("WSL_JUMP"), F_OK) ? 0 : atol(getenv("WSL_SECONDS"));
}
int clock_gettime(clockid_t clock, struct timespec *found) {
    static int (*own)(clockid_t, struct timespec *);
    if (!own) own = dlsym(RTLD_NEXT, "clock_gettime");
    int status = own(clock, found);
    if (clock == CLOCK_REALTIME) found->tv_sec += moved();
    return status;
}
int gettimeofday(struct timeval *found, void *zone) {
    struct timespec now;
    int status = clock_gettime(CLOCK_REALTIME, &now);
    found->tv_sec = now.tv_sec, found->tv_usec = now.tv_nsec / 1000;
    return status;
}
time_t time(time_t *found) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (found) *found = now.tv_sec;
    return now.tv_sec;
}
"""


def _clocks(commands: Commands) -> _Rows:
    """Jumps of the clock of the day in the middle of a run; needs a C compiler."""
    library, source = commands.work / "clock.so", commands.work / "clock.c"
    source.parent.mkdir(parents=True, exist_ok=True)
    source.write_text(_CLOCK)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    for name, seconds in (("ahead", 31_536_000), ("back", -31_536_000)):
        out, jump = commands.work / f"clock {name}", commands.work / f"jump {name}"
        arguments = [*commands.arguments("run", out), "--set", "run.time_limit=30"]
        begin = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-c", "from wsl.cli import main; main()", *arguments],
            env={
                **os.environ,
                "LD_PRELOAD": str(library),
                "WSL_JUMP": str(jump),
                "WSL_SECONDS": str(seconds),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        while process.poll() is None and not list(out.glob("predictions/part-*")):
            time.sleep(0.01)
        jump.touch()
        said = process.communicate(timeout=300)
        spent = time.monotonic() - begin
        ended = Outcome(process.returncode, *said, 0, spent, tuple(arguments))
        finds = ended.finds + ([] if ended.status == 0 else [f"status {ended.status}: {said[1]}"])
        if re.search(r"\d (days?|year)|-\d", said[1]):
            finds.append(f"tells of a wrong time: {said[1][-200:]!r}")
        more, _ = commands.again("run", out)
        yield f"clock a year {name} in the middle of a run", finds + more, ended


def _changing(commands: Commands) -> _Rows:
    """Images that are overwritten, cut and removed while a run reads them."""
    for kind in ("cut", "removed", "replaced"):
        data = shutil.copytree(commands.whole / "data", commands.work / f"changing {kind}")
        out = commands.work / f"changing run {kind}"
        rng = random.Random(2)
        process = start(run_arguments(data, out), commands.work / "output")
        images = sorted((data / "Data/CLS-LOC/val").iterdir())
        _, spent = commands.expected("run")
        until = time.monotonic() + spent
        while time.monotonic() < until:
            path = rng.choice(images)
            if kind == "cut" and path.exists():
                os.truncate(path, path.stat().st_size // 2)
            elif kind == "removed":
                path.unlink(missing_ok=True)
            else:
                path.write_bytes(rng.choice(images).read_bytes() if path.exists() else b"")
            time.sleep(spent / 30)
        ended = wait(process)
        finds = ended.finds
        if f"{_IMAGES} images" not in ended.out:
            finds.append(f"lost images: {ended.out[-200:]!r} {ended.err[-300:]!r}")
        yield f"images {kind} while they are read", finds, ended
