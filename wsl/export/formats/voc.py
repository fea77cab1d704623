"""Pascal VOC: boxes as XML, label images for classes and objects (Everingham et al. 2010).

::

    OUT/VOCdevkit/VOC2012/Annotations/NAME.xml
                          JPEGImages/NAME.jpg            links, copies, or none
                          SegmentationClass/NAME.png     position in classes.csv, 255 uncertain
                          SegmentationObject/NAME.png    i for the i-th object of the XML file
                          ImageSets/Main/<split>.txt     NAME, one per line
                          ImageSets/Segmentation/<split>.txt
                          classes.csv                    value, category, id
                          labelmap.txt                   the classes, as Datumaro and CVAT ask for

Boxes are 1-based with inclusive corners: the first column is 1, the last is the width. The object's
name is the category's (see `wsl.export.classes.class_names`). ``pose`` is Unspecified,
``difficult`` 0; ``truncated`` is 1 where the box touches the image's border.

Overlaps and the uncertain band follow the rules of `wsl.export.formats.pseudo_labels`, for both
label images. With ``boundary_ignore=0`` every mask comes back exactly where masks do not overlap.
With more than 254 classes ``SegmentationClass`` files are 16-bit; ``SegmentationObject`` is 8-bit
always, and of an image with more than 254 objects the first 254 go in.

Readers of VOC look for ``.jpg`` and nothing else: an image of another kind keeps its bytes and gets
that ending, which readers that go by content (PIL, OpenCV, torchvision) open all the same.
"""

from __future__ import annotations

from collections import Counter
from typing import Literal

from wsl.export.exporter import Context, image_size, number_text, required_box
from wsl.export.formats.pseudo_labels import (
    IGNORE,
    LabelImageOptions,
    LabelImages,
    indexed_png,
    voc_palette,
)
from wsl.export.options import ImageMode
from wsl.export.staging import Chunk, Staging
from wsl.export.xml import xml_text
from wsl.localize.prediction import Localization, Prediction
from wsl.run.maps import Maps

__all__ = ["VocExporter", "VocOptions"]

ROOT = "VOCdevkit/VOC2012"


class VocOptions(LabelImageOptions):
    """Pascal VOC detection and segmentation."""

    label = "Pascal VOC"
    summary = "boxes as XML and label images, for torchvision and older segmentation code"

    format: Literal["voc"] = "voc"

    images: ImageMode = "link"
    """Whether the images go in, as symbolic links or copies; readers of VOC ask for them."""

    def exporter(self, context: Context) -> VocExporter:
        """Build the exporter."""
        return VocExporter(self, context)


class VocExporter(LabelImages[VocOptions]):
    """Pascal VOC detection and segmentation."""

    def image(
        self, image: Prediction, taken: tuple[Localization, ...], chunk: Chunk, maps: Maps
    ) -> int:
        """Write an image's files; see `Exporter.image`."""
        stem = self.context.stem(image.image_id)
        self.place(image, chunk, f"{ROOT}/JPEGImages", ending=".jpg")
        chunk.counts["left out: more than 254 objects"] += len(taken[IGNORE - 1 :])
        taken = taken[: IGNORE - 1]
        labels, classes = self.label_image(image, taken, chunk, maps)
        objects = labels.values(range(1, len(taken) + 1), ignore=IGNORE)
        xml = self._xml(f"{stem}.jpg", image_size(image), taken)
        chunk.file(f"{ROOT}/Annotations/{stem}.xml", xml.encode())
        chunk.file(f"{ROOT}/SegmentationClass/{stem}.png", indexed_png(classes, wide=self.wide))
        chunk.file(f"{ROOT}/SegmentationObject/{stem}.png", indexed_png(objects))
        chunk.line("list", stem)
        return len(taken)

    def _xml(self, file_name: str, size: tuple[int, int], taken: tuple[Localization, ...]) -> str:
        objects = "".join(_object_xml(self.context.classes.name(it.label), it) for it in taken)
        return (
            "<annotation>\n"
            "\t<folder>VOC2012</folder>\n"
            f"\t<filename>{xml_text(file_name)}</filename>\n"
            "\t<source>\n"
            f"\t\t<database>{xml_text(self.context.run.dataset)}</database>\n"
            "\t\t<annotation>wsl</annotation>\n"
            "\t\t<image>unknown</image>\n"
            "\t</source>\n"
            "\t<size>\n"
            f"\t\t<width>{size[1]}</width>\n"
            f"\t\t<height>{size[0]}</height>\n"
            "\t\t<depth>3</depth>\n"
            "\t</size>\n"
            "\t<segmented>1</segmented>\n"
            f"{objects}"
            "</annotation>\n"
        )

    def finish(self, staging: Staging, counts: Counter[str]) -> list[str]:
        """Write the lists of images and of classes."""
        self._label_map(staging)
        split = self.options.split
        listed = [f"{ROOT}/ImageSets/{kind}/{split}.txt" for kind in ("Main", "Segmentation")]
        written = [path for path in listed if staging.text_file(path, "list")]
        self.classes_file(staging, f"{ROOT}/classes.csv")
        return [*written, f"{ROOT}/classes.csv", f"{ROOT}/labelmap.txt"]

    def _label_map(self, staging: Staging) -> None:
        """Write a line ``name:red,green,blue::`` per class; without the color if it has none."""
        one = self.options.foreground_only
        names = ["background", *["foreground"] * one, *self.context.classes.names]
        colored = 2 if one else 0 if self.wide else len(names)
        palette = voc_palette()
        with staging.whole_file(f"{ROOT}/labelmap.txt") as file:
            file.write(b"# label:color_rgb:parts:actions\n")
            for value, name in enumerate(names):
                color = palette[3 * value : 3 * value + 3] if value < colored else []
                # A colon ends the name, and there is no way to write one.
                line = f"{name.replace(':', ' ')}:{','.join(map(str, color))}::\n"
                file.write(line.encode())

    def notes(self, counts: Counter[str]) -> list[str]:
        """Say how many images only seem to be JPEG."""
        notes = super().notes(counts)
        if counts["other ending"]:
            notes.append(
                f"{counts['other ending']:,} images are not JPEG files, but are named .jpg, "
                "as VOC's readers ask for"
            )
        return notes


def _object_xml(name: str, found: Localization) -> str:
    x0, y0, x1, y1 = required_box(found)
    height, width = found.size
    cut_off = x0 <= 0 or y0 <= 0 or x1 >= width or y1 >= height
    corners = zip(("xmin", "ymin", "xmax", "ymax"), (x0 + 1, y0 + 1, x1, y1), strict=True)
    lines = "".join(f"\t\t\t<{tag}>{number_text(value)}</{tag}>\n" for tag, value in corners)
    return (
        "\t<object>\n"
        f"\t\t<name>{xml_text(name)}</name>\n"
        "\t\t<pose>Unspecified</pose>\n"
        f"\t\t<truncated>{int(cut_off)}</truncated>\n"
        "\t\t<difficult>0</difficult>\n"
        f"\t\t<bndbox>\n{lines}\t\t</bndbox>\n"
        "\t</object>\n"
    )
