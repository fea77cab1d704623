"""What an interrupted run keeps of a chunk, and that what follows is as without the interrupt."""

import pytest
from small_runs import classifier, config, draw_photos, network
from torch import nn

from wsl.errors import RunError
from wsl.localize.prediction import Prediction
from wsl.run.chunk import Chunk, FinishedImage
from wsl.run.folder import RunFolder
from wsl.run.rows import read_predictions
from wsl.run.runner import run_dataset
from wsl.run.shard import Shard
from wsl.run.status import read_status


def finished(position):
    return FinishedImage(Prediction.failed(f"image {position}", "not of interest here"))


def chunk(folder, size=8, **options):
    (folder / "run.json").touch()
    return Chunk(RunFolder(folder), 0, size, batch_images=3, maps=False, **options)


@pytest.mark.parametrize(
    ("unread", "there", "kept"),
    [
        ([], [0, 1], 0),
        ([], [0, 1, 2], 3),
        ([], [0, 1, 2, 3, 4], 3),
        ([], [0, 1, 2, 4, 5], 3),
        ([], [1, 2, 3, 4, 5], 0),
        ([1], [0, 1, 2], 0),
        ([1], [0, 1, 2, 3], 4),
        ([3, 4], [0, 1, 2, 3, 4], 5),
        ([0], [0], 1),
        ([], [0, 1, 2, 3, 4, 5, 6, 7], 8),
    ],
    ids=str,
)
def test_whole_batches_are_kept(tmp_path, unread, there, kept):
    one = chunk(tmp_path)
    for position in there:
        one.put(position, finished(position), in_batch=position not in unread)
    one.keep()
    pieces = RunFolder(tmp_path).pieces(range(9))
    assert pieces == ({0: [range(kept)]} if kept else {})


def test_pieces_follow_one_another_and_go_with_the_chunk(tmp_path):
    one, folder = chunk(tmp_path), RunFolder(tmp_path)
    for position in range(7):
        assert not one.put(position, finished(position), in_batch=True)
        one.keep()
    assert folder.pieces(range(9)) == {0: [range(3), range(3, 6)]}
    again = chunk(tmp_path, pieces=folder.pieces(range(9))[0])
    assert not again.complete
    again.put(6, finished(6), in_batch=True)
    assert again.put(7, finished(7), in_batch=True)
    again.keep()
    assert folder.pieces(range(9)) == {0: [range(3), range(3, 6), range(6, 8)]}
    again.write()
    assert [path.name for path in (tmp_path / "predictions").iterdir()] == ["part-00000.parquet"]
    images = [one.image_id for one in read_predictions(folder.part_path(0))]
    assert images == [f"image {position}" for position in range(8)]


class Stops(nn.Module):
    """A network that is interrupted at its n-th batch."""

    def __init__(self, after):
        super().__init__()
        self.network, self.left = network(), after

    def forward(self, inputs):
        if self.left == 0:
            raise KeyboardInterrupt
        self.left -= 1
        return self.network(inputs)


def stopping(after, kind=Stops):
    """A classifier with such a network; what is tried on loading it does not count."""
    module = kind(999)
    found = classifier(module)
    module.left = after
    return found


def settings(photos):
    """One chunk of all eleven images in batches of three."""
    return config(photos, run__chunk_size=100, run__maps=True)


@pytest.fixture
def photos(tmp_path):
    return draw_photos(tmp_path / "photos")


@pytest.fixture
def files(photos, tmp_path):
    """Files of the run that nothing interrupted."""
    run_dataset(settings(photos), tmp_path / "whole", classifier=stopping(999))
    return files_of(tmp_path / "whole")


def files_of(run):
    return {
        path.relative_to(run).as_posix(): path.read_bytes()
        for folder in ("predictions", "maps")
        for path in (run / folder).iterdir()
    }


def interrupted(photos, out, after, **options):
    with pytest.raises(KeyboardInterrupt):
        run_dataset(settings(photos), out, classifier=stopping(after), **options)


@pytest.mark.parametrize("after", [[0], [1], [3], [1, 1, 1]], ids=str)
def test_an_interrupted_run_ends_in_the_same_bytes(photos, files, tmp_path, after):
    out, done = tmp_path / "run", 0
    for batches in after:
        interrupted(photos, out, batches)
        done += 3 * batches
        assert read_status(out).finished == done
    network_ = stopping(-(-(11 - done) // 3))  # one batch more would be an interrupt
    summary = run_dataset(settings(photos), out, classifier=network_)
    assert summary.counts["images"] == 11
    assert files_of(out) == files


def test_an_image_that_cannot_be_read_moves_no_batch(photos, tmp_path):
    (sorted(photos.rglob("*.png"))[1]).write_bytes(b"no image")
    run_dataset(settings(photos), tmp_path / "whole", classifier=stopping(999))
    interrupted(photos, tmp_path / "run", 1)
    assert read_status(tmp_path / "run").finished == 4
    run_dataset(settings(photos), tmp_path / "run", classifier=stopping(999))
    assert files_of(tmp_path / "run") == files_of(tmp_path / "whole")


class Told:
    def start(self, total, done):
        self.started = total, done

    def advance(self, count, failed):
        pass


def test_progress_counts_what_is_kept(photos, tmp_path):
    interrupted(photos, tmp_path / "run", 2)
    progress = Told()
    run_dataset(settings(photos), tmp_path / "run", classifier=stopping(999), progress=progress)
    assert progress.started == (11, 6)


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("folder", ["predictions", "maps"])
@pytest.mark.parametrize("damage", [truncate, lambda path: path.write_bytes(b"")])
def test_a_damaged_piece_is_made_again(photos, files, tmp_path, folder, damage, caplog):
    interrupted(photos, tmp_path / "run", 2)
    (piece,) = (tmp_path / "run" / folder).glob(".part-*")
    damage(piece)
    run_dataset(settings(photos), tmp_path / "run", classifier=stopping(999))
    assert "its images are done again" in caplog.text
    assert files_of(tmp_path / "run") == files


def test_a_piece_whose_maps_are_gone_is_made_again(photos, files, tmp_path):
    interrupted(photos, tmp_path / "run", 2)
    (piece,) = (tmp_path / "run" / "maps").glob(".part-*")
    piece.unlink()
    run_dataset(settings(photos), tmp_path / "run", classifier=stopping(999))
    assert files_of(tmp_path / "run") == files


def test_a_shard_leaves_the_pieces_of_others(photos, tmp_path):
    out = tmp_path / "run"
    options = config(photos, run__chunk_size=6)
    with pytest.raises(KeyboardInterrupt):
        run_dataset(options, out, classifier=stopping(1), shard=Shard(0, 2))
    run_dataset(options, out, classifier=stopping(999), shard=Shard(1, 2))
    assert RunFolder(out).pieces(range(9)) == {0: [range(3)]}
    run_dataset(options, out, classifier=stopping(999), shard=Shard(0, 2))
    assert RunFolder(out).pieces(range(9)) == {}


def test_an_error_keeps_what_is_finished_too(photos, files, tmp_path):
    class Breaks(Stops):
        def forward(self, inputs):
            if self.left == 0:
                raise RunError("the device is lost")
            return super().forward(inputs)

    with pytest.raises(RunError, match="the device is lost"):
        run_dataset(settings(photos), tmp_path / "run", classifier=stopping(2, Breaks))
    assert read_status(tmp_path / "run").finished == 6
    run_dataset(settings(photos), tmp_path / "run", classifier=stopping(999))
    assert files_of(tmp_path / "run") == files


def test_a_killed_run_keeps_what_it_wrote_in_between(photos, files, tmp_path, monkeypatch):
    monkeypatch.setattr("wsl.run.engines.local._KEEP_EVERY", 0)
    monkeypatch.setattr(Chunk, "write", lambda chunk: (_ for _ in ()).throw(SystemExit))
    with pytest.raises(SystemExit):
        run_dataset(settings(photos), tmp_path / "run", classifier=stopping(999))
    assert read_status(tmp_path / "run").finished >= 9
    monkeypatch.undo()
    run_dataset(settings(photos), tmp_path / "run", classifier=stopping(999))
    assert files_of(tmp_path / "run") == files


def test_what_is_kept_is_said(photos, tmp_path):
    with pytest.raises(KeyboardInterrupt) as caught:
        run_dataset(settings(photos), tmp_path / "run", classifier=stopping(2))
    assert caught.value.__notes__ == [
        "6 of 11 images are finished and kept; start the same command again to go on"
    ]
