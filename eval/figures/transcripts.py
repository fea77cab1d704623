"""Type what five kinds of new users type, and write down what comes, as pages of the documentation.

    python -m eval.figures.transcripts --bin NEW/bin

writes ``docs/transcripts/*.md`` and their pictures. ``NEW`` is a virtual environment with the
built wheel and its extra ``timm`` alone; everything runs in an empty folder away from the
repository. Nothing is downloaded: images are drawn, and networks come with wsl or have random
weights.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import tempfile
import textwrap
from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image
from torch import nn
from torchvision.models import resnet18

from eval.provenance import commit
from wsl.demo.draw import CATEGORIES, draw_image

ROOT = Path(__file__).resolve().parents[2]
PAGES = ROOT / "docs" / "transcripts"
SEED = 7
OWN_NETWORK = """\
from torch import nn
from torchvision.models import resnet18


def network() -> nn.Module:
    network = resnet18(num_classes=5)
    network.fc = nn.Sequential(nn.Dropout(0.2), nn.Linear(512, 64), nn.ReLU(), nn.Linear(64, 5))
    return network
"""
# What a notebook shows of each cell: what is printed, the last value's text, or its picture.
NOTEBOOK = """\
import ast, json, sys, contextlib, io
names, shown = {}, []
for cell in json.load(open(sys.argv[1])):
    *body, last = ast.parse(cell).body
    ends_in_value = isinstance(last, ast.Expr)
    printed, value = io.StringIO(), None
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        rest = ast.Module(body if ends_in_value else [*body, last], [])
        exec(compile(rest, "cell", "exec"), names)
        if ends_in_value:
            value = eval(compile(ast.Expression(last.value), "cell", "eval"), names)
    picture = value._repr_png_() if hasattr(value, "_repr_png_") else None
    if picture is not None:
        open(f"cell-{len(shown)}.png", "wb").write(picture)
    text = printed.getvalue() + ("" if value is None or picture else repr(value))
    shown.append([text, picture is not None])
json.dump(shown, open("shown.json", "w"))
"""


class Transcript:
    """A page in the making: a folder in which commands run, and what was typed and came.

    Parameters
    ----------
    name : str
        The page's file, without its ending.
    folder : Path
        An empty folder.
    binaries : Path
        Where the commands ``wsl`` and ``python`` of the new environment lie.
    """

    def __init__(self, name: str, folder: Path, binaries: Path) -> None:
        self.name, self.folder = name, folder
        self._parts: list[str] = []
        self._commit = commit()  # before anything is typed: it may take a while
        kept = {key: os.environ[key] for key in ("HOME", "OMP_NUM_THREADS") if key in os.environ}
        path = f"{binaries}:{os.environ['PATH']}"
        self._environment = kept | {"PATH": path, "COLUMNS": "96", "LANG": "C.UTF-8"}

    def say(self, text: str) -> None:
        """Write paragraphs, which empty lines part."""
        for paragraph in text.strip().split("\n\n"):
            self._parts.append(textwrap.fill(" ".join(paragraph.split()), width=120))

    def start(self, command: str) -> subprocess.Popen[str]:
        """Start a command in the folder, its errors among its output."""
        return subprocess.Popen(
            ["bash", "-c", f"exec {command}" if command.startswith("wsl") else command],
            cwd=self.folder,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def type(self, *commands: str, status: int = 0) -> None:
        """Run commands one after the other, and write down what comes."""
        lines = []
        for command in commands:
            process = self.start(command)
            output = process.communicate()[0]
            if process.returncode != status:
                raise SystemExit(f"{command} ended with {process.returncode}:\n{output}")
            lines += [f"$ {command}", output.rstrip()]
        self.block("\n".join(line for line in lines if line))

    def block(self, text: str, language: str = "console") -> None:
        """Write a block of what was typed and came, without the folder's own path."""
        text = text.replace(f"{self.folder}/", "").replace(str(self.folder), ".")
        text = re.sub(r"[ \t]+$", "", text, flags=re.M)
        if leaked := re.search(r"(?<![\w.:/])/\w+/\S*", text):
            raise SystemExit(f"{self.name}: the path {leaked[0]} must not be published")
        self._parts.append(f"```{language}\n{text}\n```")

    def show(self, path: str, caption: str) -> None:
        """Show a picture that a command has written."""
        pictures = PAGES / "pictures"
        pictures.mkdir(parents=True, exist_ok=True)
        name = f"{self.name}-{sum('![' in part for part in self._parts) + 1}.jpg"
        with Image.open(self.folder / path) as picture:
            picture.convert("RGB").save(pictures / name, quality=85)
        self._parts.append(f"![{caption}](pictures/{name})")

    def cells(self, *cells: str) -> None:
        """Run the cells of a notebook in one interpreter, and write down what it would show."""
        (self.folder / "cells.json").write_text(json.dumps(cells))
        (self.folder / "notebook.py").write_text(NOTEBOOK)
        process = self.start("python notebook.py cells.json")
        output = process.communicate()[0]
        if process.returncode:
            raise SystemExit(output)
        shown = json.loads((self.folder / "shown.json").read_text())
        for number, (cell, (text, is_picture)) in enumerate(zip(cells, shown, strict=True)):
            self.block(cell.strip(), "py")
            if text.strip():
                self.block(text.strip(), "text")
            if is_picture:
                self.show(f"cell-{number}.png", "What the notebook shows")

    def write(self) -> None:
        """Write the page."""
        PAGES.mkdir(parents=True, exist_ok=True)
        made = f"*Typed and written down by `python -m eval.figures.transcripts`, {self._commit}.*"
        page = "\n\n".join([*self._parts, made])
        (PAGES / f"{self.name}.md").write_text(page + "\n", encoding="utf-8")


def main() -> None:
    """Write the pages."""
    everyone: dict[str, Callable[[Transcript], None]] = {
        "own-network": own_network,
        "photos-to-coco": photos_to_coco,
        "interrupted": interrupted,
        "notebook": notebook,
        "simonyan2013": simonyan2013,
    }
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bin", type=Path, required=True, help="The new environment's commands.")
    parser.add_argument("--only", nargs="+", choices=everyone, default=[*everyone])
    arguments = parser.parse_args()
    for name in arguments.only:
        with tempfile.TemporaryDirectory() as folder:
            transcript = Transcript(name, Path(folder), arguments.bin.resolve())
            check_environment(transcript)
            everyone[name](transcript)
            transcript.write()


def check_environment(transcript: Transcript) -> None:
    """Refuse an environment whose wsl is the repository's, in place of the wheel's."""
    process = transcript.start("python -c 'import wsl; print(wsl.__file__)'")
    place = process.communicate()[0].strip()
    if process.returncode or Path(place).is_relative_to(ROOT):
        raise SystemExit(f"--bin must have wsl installed from its wheel, but has {place}")


def draw(folder: Path, numbers: range, *, name: str = "photo") -> list[str]:
    """Draw pictures into a folder; return their classes."""
    folder.mkdir(parents=True)
    drawn = [draw_image(number, seed=SEED) for number in numbers]
    for number, each in zip(numbers, drawn, strict=True):
        Image.fromarray(each.image).save(folder / f"{name}{number + 1:02d}.jpg", quality=92)
    return [CATEGORIES.names[each.label] for each in drawn]


def own_network(page: Transcript) -> None:
    """Write how one's own network with five classes is used."""
    classes = draw_coco(page.folder / "shapes", count=8)
    (page.folder / "classes.txt").write_text("\n".join(classes) + "\n")
    (page.folder / "own_network.py").write_text(OWN_NETWORK)
    save_networks(page.folder)
    page.say(
        """# Transcript: your own network

Somebody has a `resnet18` of five classes, as three files: a plain state dict, Lightning's
checkpoint, and one whose last layer is a sequence of layers; and eight images with boxes in
COCO's format. The networks here have random weights, so that nothing is downloaded: the figures
are those of chance."""
    )
    page.type("ls . shapes shapes/annotations", "cat classes.txt")
    page.say("The state dict and Lightning's checkpoint need the network's name:")
    page.type(
        "wsl run shapes --model resnet18 --checkpoint own.pth --categories classes.txt --out run",
        "wsl run shapes --model resnet18 --checkpoint lightning.ckpt --categories classes.txt "
        "--out run-lightning",
    )
    page.say(
        "Weights do not say what stands between the layers of a head of one's own. A function "
        "does, here in `own_network.py`:"
    )
    page.type(
        "cat own_network.py",
        "wsl run shapes --model own_network:network --checkpoint head.pth --categories classes.txt "
        "--out run-head",
    )
    page.say("Three methods on the same images, and a table for a paper:")
    page.type(
        "wsl compare shapes --methods grad_cam,gradient,default --model resnet18 "
        "--checkpoint own.pth --categories classes.txt --format latex --pictures 1 "
        "--out comparison",
        "grep -m1 -A4 endlastfoot comparison/report.tex",
    )
    page.show("comparison/pictures/shape01.png", "The three methods side by side on an image")


def draw_coco(root: Path, *, count: int) -> list[str]:
    """Draw images of five of the demo's classes, with their boxes in COCO's format."""
    labels = range(5)
    (root / "annotations").mkdir(parents=True)
    (root / "images").mkdir()
    images: list[dict[str, object]] = []
    boxes: list[dict[str, object]] = []
    number = 0
    while len(images) < count:
        drawn = draw_image(number, seed=SEED)
        number += 1
        if drawn.label not in labels:
            continue
        key = len(images) + 1
        name = f"shape{key:02d}.jpg"
        Image.fromarray(drawn.image).save(root / "images" / name, quality=92)
        height, width = drawn.image.shape[:2]
        images.append({"id": key, "file_name": name, "width": width, "height": height})
        for x0, y0, x1, y1 in drawn.boxes:
            entry = {"id": len(boxes) + 1, "image_id": key, "category_id": drawn.label + 1}
            boxes.append(entry | {"bbox": [x0, y0, x1 - x0, y1 - y0], "iscrowd": 0})
    names = [CATEGORIES.names[label] for label in labels]
    listed = [{"id": number, "name": name} for number, name in enumerate(names, start=1)]
    content = {"images": images, "annotations": boxes, "categories": listed}
    (root / "annotations" / "instances_own.json").write_text(json.dumps(content))
    return names


def save_networks(folder: Path) -> None:
    """Save a network as a plain state dict, as Lightning does, and with a head of its own."""
    torch.manual_seed(SEED)
    network = resnet18(num_classes=5)
    torch.save(network.state_dict(), folder / "own.pth")
    state = {f"model.{key}": value for key, value in network.state_dict().items()}
    training = {"epoch": 3, "global_step": 120, "hyper_parameters": {"lr": 0.1}}
    torch.save({**training, "state_dict": state}, folder / "lightning.ckpt")
    network.fc = nn.Sequential(
        nn.Dropout(0.2), nn.Linear(512, 64), nn.ReLU(), nn.Linear(64, 5)
    )  # as in OWN_NETWORK
    torch.save(network.state_dict(), folder / "head.pth")


def photos_to_coco(page: Transcript) -> None:
    """Write how photographs become annotations in COCO's format."""
    draw(page.folder / "photos", range(6))
    page.say(
        """# Transcript: photographs to COCO

Somebody has a folder of photographs without labels, and wants boxes and masks in COCO's format.
The photographs here are drawn, and the classifier is the one that comes with wsl; with others it
is `--model resnet50`, or any name that `wsl models` lists."""
    )
    page.type("ls photos", "wsl run photos --model demo --out run --export coco")
    page.say("pycocotools reads it:")
    (page.folder / "read.py").write_text(
        """\
from pycocotools.coco import COCO

coco = COCO("run/export/coco/annotations/instances_train.json")
for annotation in coco.loadAnns(coco.getAnnIds()):
    image = coco.imgs[annotation["image_id"]]
    category = coco.cats[annotation["category_id"]]["name"]
    print(image["file_name"], category, annotation["bbox"], coco.annToMask(annotation).sum())
"""
    )
    page.type("cat read.py", "python read.py")
    page.say("And how it came about, for one of them:")
    page.type("wsl show photos/photo01.jpg --model demo --out pictures")
    page.show(
        next((page.folder / "pictures").glob("*.png")).relative_to(page.folder).as_posix(),
        "Image, saliency map, seeds, mask and box",
    )


def interrupted(page: Transcript) -> None:
    """Write how a run is interrupted at a third, and resumed."""
    count = 300
    draw(page.folder / "photos", range(count))
    torch.manual_seed(SEED)
    torch.save(resnet18().state_dict(), page.folder / "weights.pth")
    command = "wsl run photos --model resnet18 --checkpoint weights.pth --recipe fast --out run"
    page.say(
        """# Transcript: interrupted and resumed

A run over 300 images is interrupted with Ctrl-C once it tells that a third is done. What is
finished is kept; the same command goes on. (The network has random weights here, so that nothing is
downloaded.)"""
    )
    process = page.start(command)
    output, done = "", 0
    for line in process.stdout or ():
        output += line
        told = re.search(r"(\d+) of \d+ images", line)
        if told and done < count / 3 <= (done := int(told[1])):
            process.send_signal(signal.SIGINT)
    process.wait()
    if process.returncode != 130:
        raise SystemExit(f"interrupting must end with 130, but ended with {process.returncode}")
    typed = output.rstrip().replace("wsl: stopping", "^C\nwsl: stopping")
    page.block(f"$ {command}\n{typed}\n$ echo $?\n130")
    page.type("wsl run --status run")
    page.type(command, "wsl run --status run")
    page.say("Once more, and nothing is left to do:")
    page.type(command)


def notebook(page: Transcript) -> None:
    """Write what a notebook shows."""
    draw(page.folder / "photos", range(3))
    page.say(
        """# Transcript: in a notebook

Each block is a cell, and below it is what the notebook shows. The classifier is the small one
that comes with wsl; `load_classifier("resnet50")` is torchvision's."""
    )
    page.cells(
        """\
from wsl import Localizer, load_classifier

localizer = Localizer(load_classifier("demo"))
localizer""",
        'localizer("photos/photo01.jpg", top_k=2)',
        'localizer("photos/photo01.jpg", top_k=1)[0]',
        """\
explained = localizer.saliency("photos/photo01.jpg", method="grad_cam")[0]
explained.saliency.shape, explained.saliency.dtype""",
        "explained",
        'localizer.saliency("photos/photo01.jpg", method="guided_backprop", classes="car")[0]',
        """\
from PIL import Image

images = [Image.open(f"photos/photo0{number}.jpg") for number in (1, 2, 3)]
for found in localizer(images, top_k=1):
    print(found)""",
        """\
vit = load_classifier("vit_tiny_patch16_224", weights=None)  # timm's; random weights
vit""",
        "Localizer(vit).saliency(images[0], classes=0)[0]",
    )


def simonyan2013(page: Transcript) -> None:
    """Write how the paper's three pictures are made."""
    page.say(
        """# Transcript: Simonyan, Vedaldi and Zisserman 2013

Somebody reads [the paper](https://arxiv.org/abs/1312.6034) and wants its three parts: the image
that a class likes best (section 2), a class saliency map (section 3), and localization (section
3.2). Images and classifier are the demo's."""
    )
    page.type("wsl demo --count 12 --pictures 0 > demo.log")
    page.say("The class model, section 2:")
    page.type("wsl visualize activation_maximization --class fish --model demo --out pictures")
    maximized = next((page.folder / "pictures").glob("activation*.png"))
    page.show(f"pictures/{maximized.name}", "The image that maximizes the score of fish")
    image = "wsl-demo/data/Data/CLS-LOC/val/DEMO_val_00000002.JPEG"
    page.say("The saliency map of one image and class, section 3.1:")
    page.type(f"wsl visualize gradient {image} --class fish --model demo --out pictures")
    drawn = next((page.folder / "pictures").glob("DEMO*gradient*.png"))
    page.show(f"pictures/{drawn.name}", "The gradient's map")
    page.say("Its localization, section 3.2: ten crops, the 95 % and 30 % quantiles, GrabCut:")
    page.type(f"wsl show {image} --recipe simonyan2013 --class fish --model demo --out pictures")
    shown = next((page.folder / "pictures").glob("DEMO*fish.png"))
    page.show(f"pictures/{shown.name}", "Image, saliency map, seeds, mask and box")
    page.say("And over a dataset, five classes per image, scored as the challenge does:")
    page.type(
        "wsl run wsl-demo/data --recipe simonyan2013 --model demo --out run",
        "wsl score run",
        "wsl report run --pictures 4",
    )


if __name__ == "__main__":
    main()
