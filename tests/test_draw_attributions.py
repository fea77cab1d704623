import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from wsl.data.categories import Categories
from wsl.draw.attributions import draw_overlay, write_maximized, write_overlays
from wsl.draw.montage import _ticks, color_bar
from wsl.draw.overlays import color_table, map_limits, scale_map
from wsl.errors import ConfigError, ImageError
from wsl.models.classifier import Classifier
from wsl.models.preprocessing import Preprocessing
from wsl.saliency.activation_maximization import ActivationMaximization
from wsl.saliency.explain import Explanation
from wsl.saliency.gradient import Gradient
from wsl.saliency.occlusion import Occlusion
from wsl.saliency.targets import TargetOptions


@pytest.fixture
def classifier() -> Classifier:
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 3),
    )
    preprocessing = Preprocessing(resize_size=16, crop_size=(16, 16))
    names = Categories(("crane", "crane", "dog, hound"))
    return Classifier(module, preprocessing, names, torch.device("cpu"))


@pytest.fixture
def files(tmp_path):
    paths = [tmp_path / "a b.png", tmp_path / "c.png"]
    for seed, path in enumerate(paths):
        pixels = np.random.default_rng(seed).integers(0, 256, (20, 30, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    return paths


def test_overlays_and_arrays_of_each_image_and_class(classifier, files, tmp_path):
    out = tmp_path / "out"
    written = list(write_overlays(classifier, files, out, Gradient(), classes=[0, 1], height=64))
    # Two classes of one name are two files.
    names = [f"{image}-gradient-{k}_crane" for image in ("a_b", "c") for k in (0, 1)]
    assert sorted(path.name for path in out.iterdir()) == sorted(
        [f"{name}.png" for name in names] + [f"{name}.npy" for name in names]
    )
    for visual in written:
        array = np.load(visual.arrays[0])
        assert array.shape == (20, 30)
        assert array.dtype == np.float32
        picture = np.asarray(Image.open(visual.path))
        assert picture.std() > 10
        assert visual.title.startswith("crane: score ")


class Seen(list):
    """Notes progress."""

    def start(self, total, done):
        self.append(("of", total))

    def advance(self, count, failed):
        self.append(count)


def test_occlusion_leaves_its_scores_and_counts(classifier, files, tmp_path):
    seen, saliency = Seen(), Occlusion(size=5, stride=8)
    (visual,) = write_overlays(classifier, files[:1], tmp_path, saliency, progress=seen)
    assert [path.name for path in visual.arrays] == [
        f"{visual.path.stem}.npy",
        f"{visual.path.stem}-scores.npy",
    ]
    assert np.load(visual.arrays[1]).shape == (2, 2)
    assert seen == [("of", 4), 4]
    assert "; lowest, " in visual.title


def test_a_channel_in_place_of_a_class(classifier, files, tmp_path):
    target = TargetOptions(layer="0", channel=3)
    (visual,) = write_overlays(classifier, files[:1], tmp_path, Gradient(), target=target)
    assert visual.path.name == "a_b-gradient-0_channel_3.png"
    assert visual.title.startswith("0 channel 3: ")


def test_equal_names_and_unreadable_files_are_refused(classifier, files, tmp_path):
    folder = tmp_path / "other"
    folder.mkdir()
    with pytest.raises(ConfigError, match=r"must differ in their names, but .*c.png and .*C.jpg"):
        list(write_overlays(classifier, [files[1], folder / "C.jpg"], tmp_path, Gradient()))
    with pytest.raises(ImageError, match=r"C.jpg"):
        list(write_overlays(classifier, [folder / "C.jpg"], tmp_path, Gradient()))


def test_maximized_images_are_written_with_their_history(classifier, tmp_path):
    options = ActivationMaximization(steps=4)
    written = list(write_maximized(classifier, tmp_path, options, classes=["dog", 0]))
    assert [visual.path.name for visual in written] == [
        "activation_maximization-2_dog.png",
        "activation_maximization-0_crane.png",
    ]
    image, history = (np.load(path) for path in written[0].arrays)
    assert image.shape == (3, 16, 16)
    assert history.shape == (5,)
    assert history[-1] > history[0]
    assert f"score {history[0]:.2f} → {history[-1]:.2f}" in written[0].title
    target = TargetOptions(layer="0", channel=1, position=(2, 3))
    (visual,) = write_maximized(classifier, tmp_path, options, target=target)
    assert "activation" in visual.title


def test_a_maximized_image_needs_classes_or_a_target(classifier, tmp_path):
    for more in ({}, {"classes": [0], "target": TargetOptions(layer="0")}):
        with pytest.raises(ConfigError, match="must have classes"):
            list(write_maximized(classifier, tmp_path, ActivationMaximization(), **more))


def test_the_scale_names_what_the_colors_stand_for():
    saliency = np.linspace(0, 2, 1000, dtype=np.float32).reshape(20, 50)
    low, high = map_limits(saliency)
    assert low == 0
    assert high == pytest.approx(1.99)
    assert scale_map(saliency).max() == 1
    assert map_limits(np.full((3, 3), 2.0)) == (2, 2)
    bar = color_bar(color_table(), (0, 2), height=100)
    assert bar.shape[0] == 100
    assert (bar[0, 0] == color_table()[255]).all()
    assert (bar[-1, 0] == color_table()[0]).all()
    # Brightness falls from above to below: the colors are perceptually even.
    luma = bar[:, 0] @ np.array([0.299, 0.587, 0.114])
    assert (np.diff(luma) <= 1).all()


@pytest.mark.parametrize(
    ("limits", "ticks"),
    [
        ((0, 1), [0, 0.25, 0.5, 0.75, 1]),
        ((0.0004, 0.31), [0, 0.1, 0.2, 0.3]),
        ((-2.1, 4), [-2, 0, 2, 4]),
        ((0, 3e-6), [0, 1e-6, 2e-6, 3e-6]),
        ((5, 5), [5]),
    ],
    ids=["unit", "nearly zero", "signed", "tiny", "flat"],
)
def test_ticks_stand_at_round_values_within_the_limits(limits, ticks):
    assert _ticks(*limits, count=4) == pytest.approx(ticks)


def test_ticks_and_labels_are_drawn_beside_the_colors():
    table = color_table()
    bar, flat = color_bar(table, (0, 1), height=120), color_bar(table, (5, 5), height=120)
    dark = np.flatnonzero((bar[:, 13] < 200).all(axis=1))  # right of the colors: the ticks
    assert dark[0] == 0
    assert dark[-1] == 119
    assert len(dark) >= 3
    assert flat.shape[0] == 120


def test_the_overlay_has_a_title_two_panels_and_a_scale():
    image = np.full((40, 60, 3), 200, np.uint8)
    saliency = np.zeros((40, 60), np.float32)
    saliency[10:20, 10:30] = 1
    plain = draw_overlay(image, Explanation(0, "dog", saliency), method="gradient", height=80)
    other = draw_overlay(image, Explanation(0, "cat", saliency), method="gradient", height=80)
    assert plain.shape[0] > 80
    assert plain.shape[1] > 2 * 120
    assert not np.array_equal(plain, other)
