"""A machine-learning backend for Label Studio: ``wsl label-studio``.

It speaks the protocol of Label Studio's own backends and needs none of their packages::

    GET  /health   {"status": "UP", ...}
    POST /setup    {"model_version": ...}
    POST /predict  {"tasks": [...], "label_config": XML} -> {"results": [one prediction per task]}

The tasks of a request go through the classifier in batches. A project's labeling configuration says
what is wanted: boxes (``RectangleLabels``), brushes (``BrushLabels``) or polygons
(``PolygonLabels``), under which names, and which of the classifier's classes. Images are read from
a folder on this machine; addresses outside of it are refused.
"""

from __future__ import annotations

import json
import logging
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring
from scipy.ndimage import binary_fill_holes

from wsl.data.images import load_image
from wsl.errors import DataError, WslError
from wsl.export.base import Shape
from wsl.export.formats.label_studio import LabelStudioFormat, path_in
from wsl.localize.localizer import Localizer
from wsl.localize.prediction import Localization

log = logging.getLogger(__name__)

_SHAPES: dict[str, Shape] = {
    "RectangleLabels": "box",
    "PolygonLabels": "polygon",
    "BrushLabels": "mask",
}
_LONGEST_REQUEST = 64 << 20


@dataclass(frozen=True)
class Interface:
    """What a project's labeling configuration asks for."""

    image: str
    """Name of the image in the interface."""
    key: str
    """Key of a task's data that holds its address."""
    controls: dict[Shape, str]
    """Names of the controls by what they draw."""
    labels: frozenset[str]
    """Classes that can be drawn."""

    @classmethod
    def of(cls, config: str) -> Interface:
        """Read a labeling configuration.

        Raises
        ------
        DataError
            If it is no XML, or has no image with boxes, brushes or polygons.
        """
        try:
            root = fromstring(config)
        except (ParseError, DefusedXmlException) as error:
            raise DataError(f"the labeling configuration cannot be read: {error}") from error
        for image in root.iter("Image"):
            name, value = image.get("name", ""), image.get("value", "")
            drawn = [
                each
                for each in root.iter()
                if each.tag in _SHAPES and name in each.get("toName", "").split(",")
            ]
            if drawn and value.startswith("$"):
                controls = {_SHAPES[each.tag]: each.get("name", "") for each in reversed(drawn)}
                labels = (label.get("value", "") for each in drawn for label in each.iter("Label"))
                return cls(name, value[1:], controls, frozenset(labels))
        raise DataError(
            "the labeling configuration must have an Image with RectangleLabels, BrushLabels or "
            "PolygonLabels, but has none"
        )


class Backend:
    """Pre-annotates tasks.

    Parameters
    ----------
    localizer : Localizer
    root : Path
        Folder of the images: that of Label Studio's local storage.
    top_k : int
        Localize the classifier's first k classes, as far as the project has them.
    min_score : float
        Least probability of a class.
    """

    def __init__(
        self, localizer: Localizer, root: Path, *, top_k: int = 1, min_score: float = 0.0
    ) -> None:
        self._localizer, self._root = localizer, root.resolve()
        self._top_k, self._min_score = top_k, min_score
        self._one_at_a_time = threading.Lock()
        self.version = f"wsl {localizer.classifier.name}"

    def predict(self, tasks: Sequence[Mapping[str, Any]], config: str) -> list[dict[str, Any]]:
        """Predict for tasks, all in one call of the localizer.

        Parameters
        ----------
        tasks : sequence of mapping
            As Label Studio has them: ``data`` with the image's address.
        config : str
            The project's labeling configuration.

        Returns
        -------
        list of dict
            One prediction per task, in their order. That of an image that cannot be read has no
            regions, and the log says why.
        """
        interface = Interface.of(config)
        images: dict[int, Any] = {}
        for number, task in enumerate(tasks):
            try:
                images[number] = load_image(self._path(task, interface.key))
            except WslError as error:
                log.warning("task %s: %s", task.get("id", number), error)
        with self._one_at_a_time:
            found = self._localizer(list(images.values()), top_k=self._top_k) if images else []
        by_task = dict(zip(images, found, strict=True))
        return [self._prediction(by_task.get(at, []), interface) for at in range(len(tasks))]

    def _path(self, task: Mapping[str, Any], key: str) -> Path:
        address = task.get("data", {}).get(key)
        if not isinstance(address, str):
            raise DataError(f"data.{key} must be the image's address, but is {address!r}")
        path = (self._root / path_in(address)).resolve()
        if not path.is_relative_to(self._root):
            raise DataError(f"{address} leads out of {self._root}")
        return path

    def _prediction(self, found: Sequence[Localization], interface: Interface) -> dict[str, Any]:
        wanted = [
            each
            for each in found
            if each.category in interface.labels
            and each.score >= self._min_score
            and each.box is not None
        ]
        controls = interface.controls
        if "polygon" in controls and "mask" not in controls:
            # A polygon has no holes, and there is no brush to draw them.
            wanted = [replace(each, mask=binary_fill_holes(each.mask)) for each in wanted]
        names = self._localizer.classifier.categories.names
        regions = LabelStudioFormat(shapes=tuple(controls)).regions(
            wanted, names.__getitem__, Counter()
        )
        named = {tag.lower(): controls.get(shape) for tag, shape in _SHAPES.items()}
        return {
            "model_version": self.version,
            "score": max((each.score for each in wanted), default=0.0),
            "result": [
                {**region, "from_name": named[region["type"]], "to_name": interface.image}
                for region in regions
            ],
        }


def make_server(backend: Backend, host: str = "127.0.0.1", port: int = 9090) -> ThreadingHTTPServer:
    """Make the server; ``serve_forever`` starts it."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.path in ("/", "/health")
            self._answer(200 if known else 404, {"status": "UP", "model_class": "wsl"})

        def do_POST(self) -> None:
            try:
                length = int(self.headers.get("Content-Length", 0))
                if not 0 <= length <= _LONGEST_REQUEST:
                    raise DataError(f"a request must have at most {_LONGEST_REQUEST:,} bytes")
                asked = json.loads(self.rfile.read(length) or b"{}")
                self._answer(*self._reply(asked))
            except (WslError, ValueError, AttributeError, TypeError) as error:
                self._answer(400, {"error": str(error)})

        def _reply(self, asked: dict[str, Any]) -> tuple[int, dict[str, Any]]:
            version = {"model_version": backend.version}
            if self.path == "/setup":
                Interface.of(asked.get("schema", ""))
                return 200, version
            if self.path == "/predict":
                tasks, config = asked.get("tasks", []), asked.get("label_config", "")
                return 200, {"results": backend.predict(tasks, config), **version}
            if self.path == "/webhook":  # a project's events; nothing is trained on them
                return 200, {}
            return 404, {"error": f"there is no {self.path}"}

        def _answer(self, status: int, content: dict[str, Any]) -> None:
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 - its name there
            log.info(format, *arguments)

    return ThreadingHTTPServer((host, port), Handler)
