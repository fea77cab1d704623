"""The folder of an export while it is written: in chunks, so that it can be continued.

While an export is being made, its folder holds ``.export/``::

    .export/state.json           identity of the export: format, options and the run's digest
    .export/done/part-00000/     for each finished part file of the run: its lines of the files that
                                 all images share, one text file per stream, and ``counts.json``
    .export/lock                 held by the process that writes the export
    .export/scratch/             temporary files, renamed when they are complete

Files of single images are renamed straight to their places. An interrupted export repeats the part
files that are not in ``done``, with the same files as a result, and continues. At the end the
shared files are assembled, ``export.json`` is written, and ``.export/`` is removed: an export with
an ``export.json`` is complete.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from wsl.errors import RunError, RunMismatchError
from wsl.run.lock import lone_lock
from wsl.run.maps import Maps
from wsl.storage import read_json, whole_file

WORK = ".export"
MANIFEST = "export.json"


class Staging:
    """The folder of one export.

    Parameters
    ----------
    out : Path
        New, empty, or of the same export.
    state : dict
        Identity of the export; JSON values.

    Raises
    ------
    RunMismatchError
        If the folder holds another export.
    RunError
        If it holds something else, or cannot be written.
    """

    def __init__(self, out: Path, state: dict[str, Any]) -> None:
        self.out = out
        self.state = json.loads(json.dumps(state))
        self._done = out / WORK / "done"
        self._scratch = out / WORK / "scratch"
        self._refuse_strangers()

    @property
    def manifest(self) -> dict[str, Any] | None:
        """What ``export.json`` says, once the export is whole."""
        path = self.out / MANIFEST
        return _read_json(path) if path.is_file() else None

    def _refuse_strangers(self) -> None:
        manifest, state = self.out / MANIFEST, self.out / WORK / "state.json"
        if manifest.is_file():
            found = _read_json(manifest).get("state", {})
        elif state.is_file():
            found = _read_json(state)
        elif self.out.exists() and (not self.out.is_dir() or _strangers(self.out)):
            raise RunError(f"{self.out} must be a new or empty folder, or an export begun before")
        else:
            return
        different = sorted(
            key for key in {*found, *self.state} if found.get(key) != self.state.get(key)
        )
        if different:
            raise RunMismatchError(
                f"{self.out} holds another export (it differs in {', '.join(different)}): "
                "choose another folder, or empty this one"
            )

    @contextmanager
    def begin(self) -> Iterator[None]:
        """Make the folder, hold it, and clear away what was cut off in the middle.

        Raises
        ------
        RunError
            If another process holds it.
        OSError
            If it cannot be written.
        """
        (self.out / WORK).mkdir(parents=True, exist_ok=True)
        with lone_lock(self.out / WORK / "lock", str(self.out)):
            if self._scratch.exists():
                shutil.rmtree(self._scratch)
            self._scratch.mkdir()
            self._done.mkdir(exist_ok=True)
            with self.whole_file(f"{WORK}/state.json") as file:
                file.write(_json_bytes(self.state))
            yield

    def counts(self, name: str) -> Counter[str] | None:
        """Read the counts of a finished chunk; None if it is not finished."""
        path = self._done / name / "counts.json"
        return Counter(_read_json(path)) if path.is_file() else None

    @contextmanager
    def chunk(self, name: str, before: Counter[str], maps: Maps) -> Iterator[Chunk]:
        """Work on one chunk; it is finished if nothing is raised.

        Parameters
        ----------
        name : str
        before : Counter
            Sums of the counts of all chunks before it.
        maps : Maps
            The chunk's saliency maps.
        """
        folder = self._scratch / name
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir()
        chunk = Chunk(self.out, folder, before, maps)
        try:
            yield chunk
        finally:
            chunk.close()
        (folder / "counts.json").write_bytes(_json_bytes(dict(chunk.counts)))
        folder.rename(self._done / name)

    def fragments(self, stream: str) -> Iterator[Path]:
        """Files of one stream, in the order of the chunks."""
        for folder in sorted(self._done.iterdir()):
            if (folder / stream).is_file():
                yield folder / stream

    def lines(self, stream: str) -> Iterator[bytes]:
        """Lines of one stream, without their ends, one at a time."""
        for path in self.fragments(stream):
            with path.open("rb") as file:
                for line in file:
                    yield line.rstrip(b"\n")

    @contextmanager
    def whole_file(self, relative: str) -> Iterator[BinaryIO]:
        """Write a file that all images share; it takes its place if nothing is raised."""
        with whole_file(self.out / relative, scratch=self._scratch) as file:
            yield file

    def text_file(self, relative: str, stream: str, *, head: Iterable[str] = ()) -> bool:
        """Write a stream's lines as a text file, after the lines `head`; False if there are none.

        Without any line and without a head, no file is made.
        """
        fragments, head = list(self.fragments(stream)), list(head)
        if not fragments and not head:
            return False
        with self.whole_file(relative) as file:
            file.writelines(f"{line}\n".encode() for line in head)
            for path in fragments:
                with path.open("rb") as fragment:
                    shutil.copyfileobj(fragment, file)
        return True

    def finish(self, content: dict[str, Any]) -> None:
        """Write ``export.json``, when everything else is in its place, and clear up."""
        with self.whole_file(MANIFEST) as file:
            file.write(_json_bytes({**content, "state": self.state}))
        self.clear()

    def clear(self) -> None:
        """Remove ``.export``, which a whole export does not need."""
        shutil.rmtree(self.out / WORK, ignore_errors=True)


class Chunk:
    """What one part file of the run adds to an export.

    Attributes
    ----------
    counts : Counter
        Counted in this chunk; kept with it.
    maps : Maps
        The saliency maps of its images.
    """

    def __init__(self, out: Path, folder: Path, before: Counter[str], maps: Maps) -> None:
        self.counts: Counter[str] = Counter()
        self.maps = maps
        self._out = out
        self._folder = folder
        self._before = before
        self._streams: dict[str, BinaryIO] = {}
        self._folders: set[Path] = set()

    def number(self, kind: str) -> int:
        """Count one more of a kind; its number in the whole export, from 1."""
        self.counts[kind] += 1
        return self._before[kind] + self.counts[kind]

    def line(self, stream: str, text: str) -> None:
        """Add a line (or, to a stream that is not read by lines, lines) to a stream."""
        if stream not in self._streams:
            self._streams[stream] = (self._folder / stream).open("wb")
        self._streams[stream].write(text.encode() + b"\n")

    def file(self, relative: str, data: bytes) -> None:
        """Write a file of a single image."""
        with self.placed(relative) as temporary:
            temporary.write_bytes(data)

    @contextmanager
    def placed(self, relative: str) -> Iterator[Path]:
        """Give the path for a temporary file, which then takes its place."""
        target = self._out / relative
        if target.parent not in self._folders:
            target.parent.mkdir(parents=True, exist_ok=True)
            self._folders.add(target.parent)
        temporary = self._folder / "file"
        temporary.unlink(missing_ok=True)
        yield temporary
        temporary.replace(target)

    def close(self) -> None:
        """Close the streams."""
        for file in self._streams.values():
            file.close()


def _strangers(folder: Path) -> bool:
    """Whether a folder holds anything that no export that was just begun has left there."""
    return any(path.name != WORK for path in folder.iterdir())


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = read_json(path)
    except (OSError, ValueError) as error:
        raise RunError(f"{path} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise RunError(f"{path} must hold an object, but holds {type(content).__name__}")
    return content


def _json_bytes(content: Any) -> bytes:
    return (json.dumps(content, indent=2, sort_keys=True) + "\n").encode()
