"""Places of files: local folders, and object stores through fsspec.

A place is a `pathlib.Path`. `as_path` makes one of a string: ``/data/run`` is an ordinary path,
``s3://bucket/run``, ``gs://bucket/run`` or ``memory://run`` a `RemotePath`, which has the part of
the same interface that listing, reading and whole writing need. Settings of a store (endpoint,
anonymous access) are fsspec's own, from its configuration files or ``FSSPEC_…`` variables.

`write_whole` makes a file be there whole or not at all:

- Locally it is written under a temporary name beside its place and renamed.
- Object stores (S3, Google Cloud, Azure) have no rename, but a finished upload appears in one
  step, and one that was cut off does not appear: the content is made in memory and uploaded under
  its own name.
- Other servers that fsspec reaches (SFTP, FTP, HDFS) promise neither. There a writer that dies
  leaves a part of a file, which readers tell by its checksums.
"""

from __future__ import annotations

import errno
import inspect
import io
import itertools
import os
import re
import socket
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import IO, Annotated, Any, BinaryIO, Self
from urllib.parse import unquote, urlsplit

from pydantic import BeforeValidator

from wsl.errors import ConfigError

__all__ = ["Location", "RemotePath", "as_path", "is_temporary", "write_whole"]

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
_count = itertools.count()


class RemotePath(type(Path())):  # type: ignore[misc]
    """A path in a store: made by `as_path`, joined with ``/`` and used like any `pathlib.Path`.

    Its scheme is its first part, so that ``parent``, ``name``, ``with_name`` and the like are
    those of `pathlib`. Repeated slashes in a key become one.
    """

    def __str__(self) -> str:
        scheme, *rest = self.parts
        return f"{scheme}//{'/'.join(rest)}"

    def __fspath__(self) -> str:
        return str(self)

    @property
    def _store(self) -> Any:
        import fsspec

        return fsspec.filesystem(self.parts[0].removesuffix(":"))

    def absolute(self) -> Self:
        """Return the path: it is absolute already."""
        return self

    def resolve(self, strict: bool = False) -> Self:
        """Return the path: stores have no links."""
        return self

    def exists(self, *, follow_symlinks: bool = True) -> bool:
        """Whether there is a file, or files below it."""
        with _store_errors(self):
            return bool(self._store.exists(str(self)))

    def is_file(self, *, follow_symlinks: bool = True) -> bool:
        """Whether there is a file."""
        with _store_errors(self):
            return bool(self._store.isfile(str(self)))

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        """Whether there are files below it."""
        with _store_errors(self):
            return bool(self._store.isdir(str(self)))

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        """Kind and size; the other fields are 0."""
        with _store_errors(self):
            found = self._store.info(str(self))
        kind = stat.S_IFDIR if found["type"] == "directory" else stat.S_IFREG
        return os.stat_result((kind, 0, 0, 1, 0, 0, found.get("size") or 0, 0, 0, 0))

    def open(self, mode: str = "r", *args: Any, **options: Any) -> IO[Any]:
        """Open for reading; to write, use `write_whole` or `write_bytes`."""
        if set(mode) & set("wax+"):
            raise OSError(f"{self} can be written as a whole only")
        if "b" in mode:
            with _store_errors(self):
                opened: IO[Any] = self._store.open(str(self), "rb")
                return opened
        return io.TextIOWrapper(
            io.BytesIO(self.read_bytes()),
            encoding=options.get("encoding"),
            errors=options.get("errors"),
            newline=options.get("newline"),
        )

    def read_bytes(self) -> bytes:
        """Read the whole file."""
        with _store_errors(self):
            return bytes(self._store.cat_file(str(self)))

    def read_text(self, encoding: str | None = None, *args: Any, **options: Any) -> str:
        """Read the whole file as text."""
        return self.read_bytes().decode(encoding or "utf-8")

    def write_bytes(self, data: Any) -> int:
        """Write the whole file."""
        with _store_errors(self):
            self._store.pipe_file(str(self), bytes(data))
        return len(data)

    def create_bytes(self, data: Any) -> None:
        """Write the whole file; raise a FileExistsError if there is one.

        Stores with conditional writes (S3, Google Cloud) decide it themselves, so that of two
        writers one is refused; elsewhere it is looked up right before.
        """
        with _store_errors(self):
            write = self._store.pipe_file
            if "mode" in inspect.signature(write).parameters:
                write(str(self), bytes(data), mode="create")
                return
            if self._store.exists(str(self)):
                raise FileExistsError
            write(str(self), bytes(data))

    def write_text(self, data: str, encoding: str | None = None, *args: Any, **options: Any) -> int:
        """Write the whole file as text."""
        return self.write_bytes(data.encode(encoding or "utf-8"))

    def mkdir(self, *args: Any, **options: Any) -> None:
        """Do nothing: a store's folders are there with their first file."""

    def unlink(self, missing_ok: bool = False) -> None:
        """Remove the file."""
        try:
            with _store_errors(self):
                self._store.rm_file(str(self))
        except FileNotFoundError:
            if not missing_ok:
                raise

    def iterdir(self) -> Iterator[Self]:
        """Yield what lies in the folder, as it is now."""
        with _store_errors(self):
            self._store.invalidate_cache()
            names = self._store.ls(str(self), detail=False)
        return (self / PurePosixPath(name).name for name in names)

    def glob(self, pattern: str, **options: Any) -> Iterator[Self]:
        """Yield what lies in the folder itself and fits a pattern without ``/``."""
        if "/" in pattern or "**" in pattern:
            raise OSError(f"{self}: a store's folders cannot be searched by {pattern!r}")
        if not self.is_dir():
            return iter(())
        return (path for path in self.iterdir() if fnmatchcase(path.name, pattern))

    def files_below(self) -> list[str]:
        """Paths of all files below, relative to this one, with ``/``; sorted."""
        with _store_errors(self):
            store = self._store
            store.invalidate_cache()
            root = store._strip_protocol(str(self)).rstrip("/") + "/"
            return sorted(path.removeprefix(root) for path in store.find(str(self)))


def as_path(place: str | Path) -> Path:
    """Make a path of what a user wrote.

    Parameters
    ----------
    place : str or Path
        A local path, ``file:///…``, or ``SCHEME://…`` with a scheme that fsspec knows.

    Raises
    ------
    ConfigError
        If the scheme is unknown, or its package is not installed.
    """
    if isinstance(place, Path):
        return place
    found = _SCHEME.match(place)
    if found is None:
        return Path(place)
    scheme = found[1].lower()
    if scheme == "file":
        return Path(unquote(urlsplit(place).path))
    import fsspec

    try:
        fsspec.get_filesystem_class(scheme)
    except (ImportError, ValueError) as error:
        raise ConfigError(f"{place} cannot be reached: {error}") from error
    path: Path = RemotePath(f"{scheme}://{place[found.end() :]}")
    if len(path.parts) < 2:
        raise ConfigError(f"{place} must name a place in the store")
    return path


Location = Annotated[Path, BeforeValidator(lambda place: _or_as_is(place))]
"""A path in a configuration, local or in a store."""


def _or_as_is(place: Any) -> Any:
    return as_path(place) if isinstance(place, str) else place


def write_whole(path: Path, write: Callable[[BinaryIO], None], *, new: bool = False) -> None:
    """Let `write` fill a file that is there whole or not at all; see the module's text.

    Parameters
    ----------
    path : Path
        Its folder is made where it is missing.
    write : callable
        Is given a binary file, open for writing.
    new : bool
        Refuse to replace a file: of several writers at once, one succeeds.

    Raises
    ------
    FileExistsError
        If there is one, and `new`.
    OSError
        If it cannot be written. What stood there before stands there still.
    """
    if isinstance(path, RemotePath):
        content = io.BytesIO()
        write(content)
        (path.create_bytes if new else path.write_bytes)(content.getbuffer())
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{_host()}.{os.getpid()}.{next(_count)}.tmp")
    try:
        with temporary.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        if new:
            _rename_to_new(temporary, path)
        else:
            temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


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
    """Whether a file was left by a `write_whole` that was killed: of `name`, or of any file."""
    return path.name.startswith(f".{name}." if name else ".") and path.name.endswith(".tmp")


def _host() -> str:
    """Return this machine's name as a part of a file's name."""
    return re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname())[:40]


@contextmanager
def _store_errors(path: Path) -> Iterator[None]:
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
