"""What runs on a GPU is what runs on the CPU: ``pytest -m gpu`` where there is one.

Beside these: bfloat16 scores in test_models_classifier.py, a network that asks for more memory than
there is in test_run_faults.py.
"""

import json

import numpy as np
import pytest
import torch
from ray_cluster import started
from small_runs import classifier as small_classifier
from small_runs import config as small_config
from small_runs import draw_photos, network, rows

from wsl.boxes import box_iou
from wsl.demo.draw import draw_image, write_dataset
from wsl.masks import decode_rle
from wsl.models.options import ModelOptions
from wsl.models.sources import load_classifier
from wsl.run.config import load_config
from wsl.run.folder import RunFolder
from wsl.run.runner import run_dataset
from wsl.saliency.explain import explain
from wsl.saliency.methods import METHODS

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module", autouse=True)
def cuda():
    if not torch.cuda.is_available():
        pytest.skip("there is no CUDA device")
    # cuDNN's convolutions round their inputs to 10 bits otherwise.
    torch.backends.cudnn.allow_tf32, before = False, torch.backends.cudnn.allow_tf32
    yield
    torch.backends.cudnn.allow_tf32 = before


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("drawn")
    write_dataset(root, count=12, seed=0)
    return root


def demo(device, precision="float32"):
    return load_classifier(ModelOptions(source="demo", device=device, precision=precision))


QUICK = {
    "smoothgrad": {"samples": 5},
    "integrated_gradients": {"steps": 8},
    "occlusion": {"size": 31, "stride": 16},
}


def maps(method, classifier):
    options = METHODS[method].model_validate(QUICK.get(method, {}))
    images = [draw_image(number, seed=0).image for number in range(3)]
    return [
        found.saliency
        for image in images
        for found in explain(classifier, image, options, classes=[0, 3, 7])
    ]


def agreement(some, others):
    """Pearson's correlation of each pair of maps; 1 for two flat ones."""
    found = []
    for one, other in zip(some, others, strict=True):
        assert one.shape == other.shape
        flat = [not np.ptp(one), not np.ptp(other)]
        found.append(float(all(flat)) if any(flat) else np.corrcoef(one.flat, other.flat)[0, 1])
    return np.array(found)


@pytest.mark.parametrize("method", list(METHODS))
def test_maps_are_those_of_the_cpu(method):
    there, here = maps(method, demo("cuda")), maps(method, demo("cpu"))
    # Where a rounding opens or shuts a ReLU a gradient jumps: single pixels may differ.
    assert agreement(there, here).min() > 0.999
    for one, other in zip(there, here, strict=True):
        assert one.max() == pytest.approx(other.max(), rel=0.05)


@pytest.mark.parametrize(
    ("method", "least"), [("layercam_fusion", 0.99), ("layer_cam", 0.99), ("gradient", 0.95)]
)
def test_maps_of_bfloat16_are_near(method, least):
    there, here = maps(method, demo("cuda", "bfloat16")), maps(method, demo("cpu"))
    assert agreement(there, here).min() > least


def run(data, out, *overrides, device="cuda", precision="float32"):
    config = load_config(
        "demo",
        [f"data.root={json.dumps(str(data))}", f"model.device={device}", *overrides],
    )
    return run_dataset(config, out, classifier=demo(device, precision))


def assert_near(some, others, *, scores=1e-3, overlap=0.97):
    """The same classes with near scores, and on average nearly the same boxes and masks."""
    boxes, masks = [], []
    for one, other in zip(some, others, strict=True):
        assert (one["image_id"], one["label"]) == (other["image_id"], other["label"])
        assert one["score"] == pytest.approx(other["score"], abs=scores)
        size = (one["height"], one["width"])
        first, second = (decode_rle(row["mask"], size) for row in (one, other))
        masks.append((first & second).sum() / max(1, (first | second).sum()))
        if one["x0"] is not None and other["x0"] is not None:
            corners = [tuple(row[key] for key in ("x0", "y0", "x1", "y1")) for row in (one, other)]
            boxes.append(box_iou(*([corner] for corner in corners))[0, 0])
    assert len(boxes) > 0.9 * len(masks)
    assert np.mean(boxes) > overlap
    assert np.mean(masks) > overlap


@pytest.fixture(scope="module")
def on_cpu(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cpu")
    run(data, folder / "run", device="cpu")
    return rows(folder / "run")


def by_class(found):
    """In an order that near scores do not change."""
    return sorted(found, key=lambda row: (row["image_id"], row["label"]))


def common(some, others):
    """Rows of the images and classes of both: near the k-th place scores may change order."""
    keys = {(row["image_id"], row["label"]) for row in some}
    keys &= {(row["image_id"], row["label"]) for row in others}
    assert len(keys) > 0.95 * len(some)
    return [
        [row for row in by_class(found) if (row["image_id"], row["label"]) in keys]
        for found in (some, others)
    ]


def test_a_run_is_that_of_the_cpu(data, on_cpu, tmp_path):
    summary = run(data, tmp_path / "run")
    assert summary.info.model["device"] == "cuda"
    assert summary.failed == 0
    assert_near(*common(rows(tmp_path / "run"), on_cpu))


def test_a_run_in_bfloat16_is_near(data, on_cpu, tmp_path):
    run(data, tmp_path / "run", precision="bfloat16")
    assert_near(*common(rows(tmp_path / "run"), on_cpu), scores=0.05, overlap=0.8)


def test_a_full_device_halves_the_batch_and_changes_nothing_else(data, tmp_path, caplog):
    large = ("saliency.views.input_sizes=[320]", "run.batch_size=12")
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    run(data, tmp_path / "roomy", *large)
    peak, total = torch.cuda.max_memory_reserved(), torch.cuda.mem_get_info()[1]
    assert "out of memory" not in caplog.text
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(0.6 * peak / total)
    try:
        summary = run(data, tmp_path / "tight", *large)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
        torch.cuda.empty_cache()
    assert "out of memory with a batch of 12 images: going on with 6" in caplog.text
    assert summary.counts["images"] == 12
    assert summary.failed == 0
    assert_near(*common(rows(tmp_path / "tight"), rows(tmp_path / "roomy")))


@pytest.mark.slow
def test_a_ray_actor_on_the_gpu_gives_the_local_engines_rows(tmp_path):
    from test_run_ray_engine import DRIVER, told

    photos = draw_photos(tmp_path / "photos", 24)
    settings = small_config(photos, run__chunk_size=2, run__maps=True)
    on_gpu = small_classifier(network().to("cuda"))
    run_dataset(settings, tmp_path / "local", classifier=on_gpu)
    with started(gpus=1) as cluster:
        driver = cluster.python(DRIVER, cluster.address, photos, tmp_path / "ray", "gradient")
        (result,) = [said for said in told(driver) if "scenario" in said]
        assert driver.wait(60) == 0
    assert result["chunks"] == 12
    assert RunFolder(tmp_path / "ray" / "gradient").read_info().counts["images"] == 24
    assert_near(*common(rows(tmp_path / "ray" / "gradient"), rows(tmp_path / "local")))
