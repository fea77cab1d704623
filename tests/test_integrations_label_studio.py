import json
import re
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wsl import Localizer, load_classifier
from wsl.demo.scene import draw_image
from wsl.errors import DataError
from wsl.export.formats.label_studio import read_label_studio
from wsl.integrations.label_studio import Backend, Interface, make_server
from wsl.masks import RunLengths

CONFIG = """<View>
  <Image name="photo" value="$picture"/>
  <BrushLabels name="brush" toName="photo">
    <Label value="fish"/><Label value="mushroom"/>
  </BrushLabels>
  <RectangleLabels name="rect" toName="photo">
    <Label value="fish"/><Label value="mushroom"/><Label value="no such class"/>
  </RectangleLabels>
</View>"""
NUMBERS = {"fish": 1, "starfish": 4, "mushroom": 5}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    (folder / "sub dir").mkdir()
    for name, number in NUMBERS.items():
        Image.fromarray(draw_image(number, seed=0).image).save(folder / "sub dir" / f"{name}.png")
    (folder / "broken.png").write_bytes(b"no image")
    return folder


@pytest.fixture(scope="module")
def backend(folder: Path) -> Backend:
    return Backend(Localizer(load_classifier("demo", device="cpu"), "fast"), folder)


@pytest.fixture(scope="module")
def address(backend: Backend) -> Iterator[str]:
    with make_server(backend, port=0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def ask(address: str, path: str, content: object = None) -> tuple[int, dict]:
    data = None if content is None else json.dumps(content).encode()
    try:
        with urllib.request.urlopen(f"{address}{path}", data=data, timeout=120) as reply:
            return reply.status, json.load(reply)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def task(number: int, path: str) -> dict:
    return {"id": number, "data": {"picture": f"/data/local-files/?d={path}"}}


def test_tasks_are_annotated_as_label_studio_asks(address, tmp_path) -> None:
    assert ask(address, "/health")[1]["status"] == "UP"
    version = ask(address, "/setup", {"project": "1.2", "schema": CONFIG})[1]["model_version"]
    tasks = [task(n, f"sub%20dir/{name}.png") for n, name in enumerate(NUMBERS)]
    status, answer = ask(address, "/predict", {"tasks": tasks, "label_config": CONFIG})
    assert status == 200
    fish, starfish, mushroom = answer["results"]
    assert {each["model_version"] for each in answer["results"]} == {version}
    assert not starfish["result"]  # the project has no such label
    assert starfish["score"] == 0
    for one, name in ((fish, "fish"), (mushroom, "mushroom")):
        named = {region["type"]: region["from_name"] for region in one["result"]}
        assert named == {"brushlabels": "brush", "rectanglelabels": "rect"}
        for region in one["result"]:
            assert region["to_name"] == "photo"
            assert region["value"][region["type"]] == [name]
    # What is accepted as it stands comes back from an export as what the localizer found.
    accepted = tmp_path / "accepted.json"
    accepted.write_text(json.dumps([tasks[2] | {"annotations": [{"result": mushroom["result"]}]}]))
    (image,) = read_label_studio(accepted)
    (found,) = Localizer(load_classifier("demo", device="cpu"), "fast")(
        draw_image(5, seed=0).image, top_k=1, image_id=""
    )
    (shape,) = image.objects
    mask = shape.mask.decode() if isinstance(shape.mask, RunLengths) else shape.mask
    np.testing.assert_array_equal(mask, found.mask)


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        pytest.param("../outside.png", "leads out of", id="outside"),
        pytest.param("broken.png", "must be a JPEG", id="no image"),
        pytest.param("missing.png", "missing.png", id="missing"),
    ],
)
def test_an_image_that_cannot_be_read_costs_its_own_task_alone(
    backend, caplog, path, reason
) -> None:
    bad, good = backend.predict([task(7, path), task(8, "sub%20dir/fish.png")], CONFIG)
    assert not bad["result"]
    assert good["result"]
    assert "task 7" in caplog.text
    assert reason in caplog.text


def test_polygons_without_a_brush_have_no_holes(backend) -> None:
    config = CONFIG.replace("BrushLabels", "PolygonLabels")
    (one,) = backend.predict([task(1, "sub%20dir/fish.png")], config)
    assert {region["type"] for region in one["result"]} == {"polygonlabels", "rectanglelabels"}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        pytest.param("<View>", "cannot be read", id="no XML"),
        pytest.param('<View><Text name="t" value="$t"/></View>', "must have an Image", id="text"),
        pytest.param(
            '<!DOCTYPE a [<!ENTITY b "c">]><View>&b;</View>', "cannot be read", id="entities"
        ),
    ],
)
def test_a_configuration_that_cannot_be_served_is_refused(address, config, message) -> None:
    with pytest.raises(DataError, match=message):
        Interface.of(config)
    status, answer = ask(address, "/setup", {"schema": config})
    assert status == 400
    assert message in answer["error"]


def test_what_is_no_request_is_refused(address) -> None:
    assert ask(address, "/nothing")[0] == 404
    assert ask(address, "/nothing", {})[0] == 404
    assert ask(address, "/predict", [])[0] == 400
    assert ask(address, "/webhook", {"action": "PROJECT_UPDATED"})[0] == 200


WSL = [sys.executable, "-c", "from wsl.cli import main; main()", "label-studio"]


def test_the_command_serves_until_it_is_interrupted(folder: Path) -> None:
    arguments = ["--images", str(folder), "--port", "0", "--recipe", "fast", "--device", "cpu"]
    with subprocess.Popen([*WSL, *arguments], stdout=subprocess.PIPE, text=True) as process:
        told = process.stdout.readline()
        (url,) = re.findall(r"http://127\.0\.0\.1:\d+", told)
        assert ask(url, "/health")[1]["status"] == "UP"
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 130


def test_a_folder_of_images_must_be_there(tmp_path: Path) -> None:
    done = subprocess.run(
        [*WSL, "--images", str(tmp_path / "none")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "--images must be a folder" in done.stderr
