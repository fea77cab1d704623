"""Paths of files, local or in object stores, and the one way of writing a file.

`as_path` makes a path of a string: ``/data/run`` is a `pathlib.Path`; ``s3://bucket/run``,
``gs://bucket/run`` or ``memory://run`` a `RemotePath`, which is universal-pathlib's path with
errors as a local disk has them. Settings of a store (endpoint, anonymous access) are fsspec's own,
from its configuration files or ``FSSPEC_…`` variables.

`whole_file` writes a file whole or not at all:

- Locally it is written under a temporary name beside its place and renamed.
- Object stores (S3, Google Cloud, Azure) have no rename, but a finished upload appears in one
  step, and one that was cut off does not appear: the content is made in memory and uploaded under
  its own name.
- Other servers that fsspec reaches (SFTP, FTP, HDFS) promise neither. A writer that dies
  there leaves a partial file, which readers detect by its checksums.
"""

from __future__ import annotations

import errno
import functools
import inspect
import io
import itertools
import json
import os
import re
import socket
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Self, cast
from urllib.parse import unquote, urlsplit

import fsspec
from pydantic import PlainSerializer, ValidatorFunctionWrapHandler, WrapValidator
from upath.extensions import ProxyUPath

from wsl.errors import ConfigError, OutputError

# The largest lists and JSON files of published datasets take half of this.
MAX_BYTES = 2**31

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
_count = itertools.count()


class RemotePath(ProxyUPath):
    """A path in a store: made by `as_path` and used like any `pathlib.Path`.

    What a store's client raises becomes an OSError that names the file.
    """

    def read_bytes(self) -> bytes:
        """Read the whole file, in one request."""
        return bytes(self.fs.cat_file(self.path))

    def write_bytes(self, data: Any) -> int:
        """Write the whole file."""
        self.fs.pipe_file(self.path, bytes(data))
        return len(data)

    def create_bytes(self, data: Any) -> None:
        """Write the whole file; raise a FileExistsError if there is one.

        Stores with conditional writes (S3, Google Cloud) decide it themselves, so that of two
        writers one is refused; elsewhere it is looked up right before.
        """
        if "mode" in inspect.signature(self.fs.pipe_file).parameters:
            self.fs.pipe_file(self.path, bytes(data), mode="create")
        elif self.exists():
            raise FileExistsError
        else:
            self.write_bytes(data)

    def mkdir(self, *args: Any, **options: Any) -> None:
        """Do nothing: a store has no folders without files."""

    def iterdir(self) -> Iterator[Self]:
        """Yield the folder's current content."""
        self.fs.invalidate_cache()
        return iter(list(super().iterdir()))

    def glob(self, pattern: str, **options: Any) -> Iterator[Self]:
        """Yield what the folder itself holds and a pattern without ``/`` matches."""
        found = self.iterdir() if self.is_dir() else iter(())
        return (path for path in found if fnmatchcase(path.name, pattern))

    def files_below(self) -> list[str]:
        """Paths of all files below, relative to this one, with ``/``; sorted."""
        self.fs.invalidate_cache()
        root = self.fs._strip_protocol(self.path).rstrip("/") + "/"
        return sorted(path.removeprefix(root) for path in self.fs.find(self.path))


def _with_store_errors(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def call(path: RemotePath, *args: Any, **options: Any) -> Any:
        with _store_errors(path):
            return method(path, *args, **options)

    return call


for _name in (
    *("exists", "is_file", "is_dir", "stat", "open", "read_bytes", "read_text", "write_bytes"),
    *("write_text", "create_bytes", "unlink", "iterdir", "files_below"),
):
    setattr(RemotePath, _name, _with_store_errors(getattr(RemotePath, _name)))


def as_path(place: str | Path) -> Path:
    """Make a path from what a user wrote.

    Parameters
    ----------
    place : str or Path
        A local path, ``file:///…``, or ``SCHEME://…`` with a scheme that fsspec knows.

    Raises
    ------
    ConfigError
        If the scheme is unknown, or its package is not installed.
    """
    if not isinstance(place, str):
        return place
    found = _SCHEME.match(place)
    if found is None:
        return Path(place)
    scheme = found[1].lower()
    if scheme == "file":
        return Path(unquote(urlsplit(place).path))
    try:
        fsspec.get_filesystem_class(scheme)
    except (ImportError, ValueError) as error:
        raise ConfigError(f"{place} cannot be reached: {error}") from error
    if not place[found.end() :].strip("/"):
        raise ConfigError(f"{place} must name a place in the store")
    return cast(Path, RemotePath(place))  # of the same interface, without being a subclass


def _location(place: Any, check: ValidatorFunctionWrapHandler) -> Any:
    found = as_path(place) if isinstance(place, str) else place
    return found if isinstance(found, RemotePath) else check(found)


Location = Annotated[Path, WrapValidator(_location), PlainSerializer(str, when_used="json")]
"""A path in a configuration, local or in a store."""


def open_file(path: Path) -> BinaryIO:
    """Open a file for reading, which must be a regular one: no other kind is touched.

    Raises
    ------
    OSError
        If it cannot be opened, or is a folder, pipe or device.
    """
    _check_regular(path.stat())
    if isinstance(path, RemotePath):
        return cast(BinaryIO, path.open("rb"))
    # A pipe that has taken the file's place meanwhile is not waited for.
    file = io.FileIO(path, opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK))
    try:
        _check_regular(os.fstat(file.fileno()))
    except OSError:
        file.close()
        raise
    return io.BufferedReader(file)


def _check_regular(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it must be a regular file, but is a folder, pipe or device")


def read_file(path: Path, *, max_bytes: int = MAX_BYTES) -> bytes:
    """Read a whole file, which must be a regular one of limited size.

    Raises
    ------
    OSError
        If it cannot be read, is a folder, pipe or device, or has more than `max_bytes`.
    """
    with open_file(path) as file:
        size = path.stat().st_size
        # One byte more, of a file that grows while it is read.
        content = b"" if size > max_bytes else file.read(max_bytes + 1)
    if (found := max(size, len(content))) > max_bytes:
        raise OSError(errno.EFBIG, f"it must have at most {max_bytes:,} bytes, but has {found:,}")
    return content


def read_text(path: Path, *, max_bytes: int = MAX_BYTES) -> str:
    """Read a text file in UTF-8; raise an OSError as `read_file`, or a ValueError."""
    return read_file(path, max_bytes=max_bytes).decode("utf-8")


def read_json(path: Path, *, max_bytes: int = MAX_BYTES) -> Any:
    """Read a JSON file; raise an OSError as `read_file`, or a ValueError."""
    try:
        return json.loads(read_file(path, max_bytes=max_bytes))
    except RecursionError as error:
        raise ValueError("its values are nested too deeply") from error


@contextmanager
def whole_file(path: Path, *, new: bool = False, scratch: Path | None = None) -> Iterator[BinaryIO]:
    """Open a binary file for writing; it takes its place if nothing is raised.

    Parameters
    ----------
    path : Path
        Its folder is made where it is missing.
    new : bool
        Refuse to replace a file: of several writers at once, one succeeds.
    scratch : Path, optional
        Folder of the temporary file, on the same file system; by default the file's own folder.

    Raises
    ------
    FileExistsError
        If there is one, and `new`.
    OutputError
        If it cannot be written. What was there before stays.
    """
    try:
        if isinstance(path, RemotePath):
            content = io.BytesIO()
            yield content
            (path.create_bytes if new else path.write_bytes)(content.getbuffer())
        else:
            yield from _whole_local_file(path, scratch or path.parent, new=new)
    except OSError as error:
        if new and isinstance(error, FileExistsError):
            raise
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error


def _whole_local_file(path: Path, scratch: Path, *, new: bool) -> Iterator[BinaryIO]:
    hidden = path.name if path.name.startswith(".") else f".{path.name}"
    temporary = scratch / f"{hidden}.{_host()}.{os.getpid()}.{next(_count)}.tmp"
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if new:
            _rename_to_new(temporary, path)
        else:
            temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str, *, new: bool = False) -> None:
    """Write a text file in UTF-8, whole or not at all; see `whole_file`."""
    with whole_file(path, new=new) as file:
        file.write(text.encode())


def write_json(path: Path, content: Mapping[str, Any], *, new: bool = False) -> None:
    """Write a JSON file, whole or not at all; see `whole_file`."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n", new=new)


def plain_cell(value: Any) -> Any:
    """Keep a spreadsheet from taking a text for a formula, as a value of a CSV file.

    A text that starts with ``=``, ``+``, ``-``, ``@``, a control character or an apostrophe gets an
    apostrophe in front; everything else stays as it is. Readers strip a leading apostrophe.

    Examples
    --------
    >>> plain_cell("=1+1"), plain_cell("'tis"), plain_cell("a-b"), plain_cell(-1)
    ("'=1+1", "''tis", 'a-b', -1)
    """
    formula = isinstance(value, str) and re.match(r"[=+\-@'\x00-\x1f\x7f]", value)
    return f"'{value}" if formula else value


def _rename_to_new(temporary: Path, path: Path) -> None:
    """Rename a file, but not over another: a link is made or refused in one step."""
    try:
        path.hardlink_to(temporary)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        if path.exists():
            raise FileExistsError(errno.EEXIST, "the file exists", str(path)) from None
        temporary.replace(path)
    else:
        temporary.unlink()


def is_temporary(path: Path, name: str | None = None) -> bool:
    """Whether a killed `whole_file` has left this file behind: for `name`, or for any file."""
    return path.name.startswith(f".{name}." if name else ".") and path.name.endswith(".tmp")


def _host() -> str:
    """Return this machine's name as a part of a file's name."""
    return re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname())[:40]


@contextmanager
def _store_errors(path: RemotePath) -> Iterator[None]:
    """Turn whatever a store's client raises into an OSError that names the file."""
    try:
        yield
    except FileNotFoundError as error:
        raise FileNotFoundError(errno.ENOENT, "there is no such file", str(path)) from error
    except FileExistsError as error:
        raise FileExistsError(errno.EEXIST, "the file exists", str(path)) from error
    except OSError as error:
        if error.filename or str(path) in str(error):
            raise
        raise OSError(error.errno or errno.EIO, str(error), str(path)) from error
    except Exception as error:
        raise OSError(errno.EIO, f"{type(error).__name__}: {error}", str(path)) from error
