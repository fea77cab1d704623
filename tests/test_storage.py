"""Places: local paths and stores."""

import os
import pickle
import uuid
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydantic import BaseModel
from small_runs import classifier, config, draw_photos, rows

from wsl.config.layers import build_options
from wsl.data.categories import Categories
from wsl.data.images import image_size, load_image
from wsl.data.open import DataOptions, dataset_fingerprint, open_dataset
from wsl.data.readers.coco import CocoOptions
from wsl.data.readers.files import FilesOptions
from wsl.data.readers.voc import VocOptions
from wsl.errors import (
    ConfigError,
    DataError,
    ImageError,
    OutputError,
    RunMismatchError,
    WslError,
)
from wsl.export.classes import read_class_list
from wsl.export.formats.cvat import read_cvat
from wsl.export.formats.ilsvrc import read_ilsvrc_ids
from wsl.export.formats.label_studio import read_label_studio
from wsl.models.groups import read_groups
from wsl.run.folder import RunFolder
from wsl.run.maps import read_maps
from wsl.run.rows import read_counts
from wsl.run.runner import build_localizer, describe_run, run_dataset
from wsl.run.shard import Shard
from wsl.run.status import read_status
from wsl.score.maps import read_map
from wsl.score.protocols.ilsvrc import read_blacklist
from wsl.storage import Location, RemotePath, as_path, read_file, whole_file, write_text
from wsl.tune.space import SearchSpace

READERS = {
    "run.json": lambda path: RunFolder(path.parent).read_info(),
    "part file": read_counts,
    "maps": lambda path: list(read_maps(path)),
    "map": lambda path: read_map(path, 0),
    "groups": lambda path: read_groups(path),
    "class list": lambda path: read_class_list(path, Categories(("a",))),
    "ILSVRC ids": lambda path: read_ilsvrc_ids(path, Categories(("a",), ("n00000001",))),
    "blacklist": read_blacklist,
    "search space": SearchSpace.from_file,
    "Label Studio": lambda path: list(read_label_studio(path)),
    "CVAT": lambda path: list(read_cvat(path)),
    "COCO": lambda path: CocoOptions(root=path.parent, annotations=path).open(Categories(("a",))),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_no_reader_opens_a_pipe_or_a_device(tmp_path, reader, kind):
    suffixes = {"run.json": ".json", "map": ".npy", "groups": ".csv"}
    path = tmp_path / f"run{suffixes.get(reader, '')}"
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    with pytest.raises(WslError, match="must be a regular file"):
        READERS[reader](path)


def test_a_file_that_grows_while_it_is_read_is_refused(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(b"x" * 11)
    monkeypatch.setattr(Path, "stat", lambda path: os.stat_result((0o100644, *[0] * 9)))
    with pytest.raises(OSError, match="must have at most 10 bytes, but has 11"):
        read_file(tmp_path / "a", max_bytes=10)


@pytest.fixture
def store():
    return as_path(f"memory://{uuid.uuid4().hex}")


def test_local_paths_stay_what_they_are(tmp_path):
    assert as_path("a/b") == Path("a/b")
    assert as_path(tmp_path) is tmp_path
    assert as_path("file:///data/my%20run") == Path("/data/my run")
    assert not isinstance(as_path("c:/x"), RemotePath)


def test_a_remote_path_is_joined_and_taken_apart_like_any_other():
    path = as_path("memory://bucket/run") / "predictions" / "part-0.parquet"
    assert str(path) == "memory://bucket/run/predictions/part-0.parquet"
    assert isinstance(path.parent, RemotePath)
    assert (path.name, path.stem, path.suffix) == ("part-0.parquet", "part-0", ".parquet")
    assert str(path.with_name("x")) == "memory://bucket/run/predictions/x"
    assert pickle.loads(pickle.dumps(path)) == path
    assert str(pickle.loads(pickle.dumps(path))) == str(path)


class Options(BaseModel):
    root: Location | None = None


@pytest.mark.parametrize("text", ["a/b", "memory://bucket/a"])
def test_options_keep_a_place_through_json(text):
    options = Options(root=text)
    assert options.model_dump(mode="json") == {"root": text}
    assert Options(**options.model_dump(mode="json")) == options


@pytest.mark.parametrize("text", ["nowhere://bucket/a", "memory://"])
def test_places_that_cannot_be_are_refused(text):
    with pytest.raises(ConfigError, match=f"{text}"):
        as_path(text)


def test_files_in_a_store(store):
    path = store / "folder" / "a.txt"
    assert not path.exists()
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        path.read_bytes()
    write_text(path, "line 1\nline 2\n")
    assert path.is_file()
    assert path.parent.is_dir()
    assert path.stat().st_size == 14
    with path.open(encoding="utf-8") as file:
        assert file.read().splitlines() == ["line 1", "line 2"]
    assert [str(found) for found in path.parent.iterdir()] == [str(path)]
    assert list(path.parent.glob("*.png")) == []
    assert store.files_below() == ["folder/a.txt"]
    path.unlink()
    path.unlink(missing_ok=True)
    assert not path.exists()


@pytest.mark.parametrize("where", ["local", "store"])
def test_what_fails_in_the_middle_changes_nothing(tmp_path, store, where):
    path = (tmp_path if where == "local" else store) / "run.json"
    write_text(path, "before")

    def fail():
        with whole_file(path) as file:
            file.write(b"half")
            raise OSError("no space left")

    with pytest.raises(OutputError, match=r"cannot write .*run\.json: no space left"):
        fail()
    assert path.read_bytes() == b"before"
    assert [found.name for found in path.parent.iterdir()] == ["run.json"]


def upload(folder, store):
    for path in folder.rglob("*"):
        if path.is_file():
            (store / path.relative_to(folder).as_posix()).write_bytes(path.read_bytes())


@pytest.mark.parametrize("form", ["folder", "files", "ilsvrc"])
def test_images_in_a_store_are_those_of_the_folder(tmp_path, store, form):
    root = tmp_path / "data"
    where = root / "Data/CLS-LOC/train" if form == "ilsvrc" else root
    draw_photos(where)
    (where / ".hidden").mkdir()
    (where / ".hidden" / "x.png").touch()
    (where / "notes.txt").touch()
    remote = store / "data"
    upload(root, remote)
    categories = Categories(("a", "b", "c"), tuple(sorted(p.name for p in where.glob("n0*"))))
    options = {"format": form} | ({"split": "train"} if form == "ilsvrc" else {})
    local, there = (
        open_dataset(build_options(DataOptions, options | {"root": place}, source="x"), categories)
        for place in (str(root), str(remote))
    )
    assert there.image_ids == local.image_ids
    assert there.skipped == local.skipped
    assert dataset_fingerprint(there) == dataset_fingerprint(local)
    for one, other in zip(there, local, strict=True):
        assert one.label == other.label
        assert (load_image(one.path) == load_image(other.path)).all()


def test_an_image_in_a_store_is_read_like_any_other(store):
    path = store / "a.png"
    with pytest.raises(ImageError, match=r"a\.png: there is no such file"):
        load_image(path)
    with whole_file(path) as file:
        Image.fromarray(np.zeros((3, 4), np.uint8)).save(file, "png")
    assert image_size(path) == (3, 4)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ImageError, match=r"memory://.*a\.png: .*truncated"):
        load_image(path)


def test_formats_that_are_not_read_from_stores_say_so(store):
    with pytest.raises(DataError, match=r"a data\.root in a store must be of format"):
        open_dataset(VocOptions(root=str(store)), Categories(("a",)))


def test_a_root_that_is_not_there(store):
    with pytest.raises(DataError, match="does not exist"):
        open_dataset(FilesOptions(root=str(store / "no")), Categories(("a",)))


def test_a_run_from_a_store_into_a_store_is_the_same_run(tmp_path, store):
    photos = draw_photos(tmp_path / "photos")
    upload(photos, store / "photos")
    run_dataset(config(photos, run__maps=True), tmp_path / "run", classifier=classifier())
    remote = config(store / "photos", run__maps=True)
    out = str(store / "run")
    run_dataset(remote, out, classifier=classifier(), shard=Shard(0, 2))
    assert read_status(out).missing == (1,)
    run_dataset(remote, out, classifier=classifier(), shard=Shard(1, 2))
    assert rows(out) == rows(tmp_path / "run")
    assert RunFolder(out).read_info().counts["images"] == 11
    for chunk in range(3):
        local = {key: map_.tobytes() for key, map_ in maps_of(tmp_path / "run", chunk)}
        assert {key: map_.tobytes() for key, map_ in maps_of(out, chunk)} == local


def maps_of(folder, chunk):
    return (
        ((image_id, label), map_)
        for image_id, label, map_ in read_maps(RunFolder(folder).maps_path(chunk))
    )


def test_damage_and_mismatch_in_a_store_are_told(tmp_path, store):
    photos = draw_photos(tmp_path / "photos")
    out = str(store / "run")
    run_dataset(config(photos), out, classifier=classifier())
    before = rows(out)
    part = RunFolder(out).part_path(1)
    part.write_bytes(part.read_bytes()[:-100])
    assert run_dataset(config(photos), out, classifier=classifier()).chunks_done == 1
    assert rows(out) == before
    with pytest.raises(RunMismatchError, match="seed was 0 and is 1"):
        run_dataset(config(photos, seed=1), out, classifier=classifier())


# Two runs into one place of a store, which has no locks.


class Meanwhile:
    """Progress that does something else when the first images are done."""

    def __init__(self, act):
        self.act = act

    def start(self, total, done):
        pass

    def advance(self, count, failed):
        act, self.act = self.act, None
        if act is not None:
            act()


def test_two_runs_at_once_into_a_store_write_the_same_files(tmp_path, store):
    photos = draw_photos(tmp_path / "photos")
    run_dataset(config(photos), tmp_path / "run", classifier=classifier())
    out = str(store / "run")
    seconds = []

    def second():
        seconds.append(run_dataset(config(photos), out, classifier=classifier()))

    first = run_dataset(config(photos), out, classifier=classifier(), progress=Meanwhile(second))
    # Neither saw the other's chunks when it began (but for those that were there already).
    assert first.chunks_done == 3
    assert seconds[0].chunks_done >= 2
    assert rows(out) == rows(tmp_path / "run")
    assert RunFolder(out).read_info().counts == RunFolder(tmp_path / "run").read_info().counts


def test_a_second_run_of_other_settings_into_a_store_is_refused(tmp_path, store):
    photos = draw_photos(tmp_path / "photos")
    out = str(store / "run")

    def second():
        with pytest.raises(RunMismatchError, match="seed was 0 and is 1"):
            run_dataset(config(photos, seed=1), out, classifier=classifier())

    progress = Meanwhile(second)
    run_dataset(config(photos), out, classifier=classifier(), progress=progress)
    assert progress.act is None
    assert RunFolder(out).read_info().config["seed"] == 0


@pytest.mark.parametrize("where", ["local", "store"])
def test_of_two_runs_that_begin_at_once_one_is_refused(tmp_path, store, where, monkeypatch):
    """Both look for run.json before either has written it."""
    folder = RunFolder((tmp_path if where == "local" else store) / "run")
    photos = draw_photos(tmp_path / "photos")
    infos = [
        describe_run(settings, build_localizer(settings, classifier()), dataset)
        for settings in (config(photos), config(photos, seed=1))
        for dataset in [open_dataset(settings.data, classifier().categories)]
    ]
    assert folder.begin(infos[0]) == infos[0]
    kind = type(folder.info_path)
    exists = kind.exists
    late = [folder.info_path]
    monkeypatch.setattr(
        kind, "exists", lambda path, **_: exists(path) if path not in late else bool(late.clear())
    )
    monkeypatch.setattr(RunFolder, "make", lambda folder: None)
    with pytest.raises(RunMismatchError, match="seed was 0 and is 1"):
        folder.begin(infos[1])
    assert not late
    assert folder.read_info() == infos[0]
    late.append(folder.info_path)
    assert folder.begin(infos[0]) == infos[0]
    assert [path.name for path in folder.path.iterdir() if path.suffix == ".tmp"] == []


@pytest.mark.parametrize("links", [True, False], ids=["links", "no links"])
@pytest.mark.parametrize("where", ["local", "store", "old store"])
def test_a_new_file_replaces_none(tmp_path, store, where, links, monkeypatch):
    if not links:
        monkeypatch.setattr(Path, "hardlink_to", no_links)
    path = (tmp_path if where == "local" else store) / "folder" / "a"
    if where == "old store":  # whose client knows nothing of exclusive writes
        kind = type(path.fs)
        write = kind.pipe_file
        monkeypatch.setattr(kind, "pipe_file", lambda store, path, value: write(store, path, value))
    write_text(path, "first", new=True)
    with pytest.raises(FileExistsError, match="exist"):
        write_text(path, "second", new=True)
    assert path.read_bytes() == b"first"
    assert [found.name for found in path.parent.iterdir()] == ["a"]


def no_links(path, target):
    raise PermissionError(1, "Operation not permitted")
