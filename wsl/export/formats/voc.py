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

Overlaps and the uncertain band follow the rules of `wsl.export.pseudo_labels`, for both
label images. With ``boundary_ignore=0`` every mask comes back exactly where masks do not overlap.
With more than 254 classes ``SegmentationClass`` files are 16-bit; ``SegmentationObject`` is 8-bit
always, and only the first 254 objects of an image are written.

Readers of VOC look for ``.jpg`` and nothing else: an image of another kind keeps its bytes and gets
that ending, which readers that go by content (PIL, OpenCV, torchvision) open all the same.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Literal

from wsl.export.base import Context, image_size, number_text, required_box
from wsl.export.formats.segmentation import IGNORE, LabelImageFormat
from wsl.export.image_files import ImageMode
from wsl.export.instances import InstanceFormat
from wsl.export.pseudo_labels import indexed_png, voc_palette
from wsl.export.staging import Chunk, Staging
from wsl.export.xml import xml_text
from wsl.localize.prediction import Localization, Prediction

ROOT = "VOCdevkit/VOC2012"


class VocFormat(LabelImageFormat, InstanceFormat):
    """Pascal VOC detection and segmentation."""

    label = "Pascal VOC"
    summary = "boxes as XML and label images, for torchvision and older segmentation code"

    format: Literal["voc"] = "voc"

    images: ImageMode = "link"
    """Whether to add the images, as symbolic links or copies; readers of VOC need them."""

    def write_image(self, image: Prediction, chunk: Chunk, context: Context) -> int:
        """Write an image's files; see `ExportFormat.write_image`."""
        stem = context.stem(image.image_id)
        context.place(image, chunk, f"{ROOT}/JPEGImages", ending=".jpg")
        chunk.counts["left out: more than 254 objects"] += len(image.localizations[IGNORE - 1 :])
        image = replace(image, localizations=image.localizations[: IGNORE - 1])
        labels, classes = self.label_image(image, chunk, context)
        objects = labels.values(range(1, len(image.localizations) + 1), ignore=IGNORE)
        xml = _image_xml(f"{stem}.jpg", image, context)
        chunk.file(f"{ROOT}/Annotations/{stem}.xml", xml.encode())
        chunk.file(
            f"{ROOT}/SegmentationClass/{stem}.png", indexed_png(classes, wide=self.is_wide(context))
        )
        chunk.file(f"{ROOT}/SegmentationObject/{stem}.png", indexed_png(objects))
        chunk.line("list", stem)
        return len(image.localizations)

    def write_shared(self, staging: Staging, counts: Counter[str], context: Context) -> list[str]:
        """Write the lists of images and of classes."""
        self._label_map(staging, context)
        split = self.split
        listed = [f"{ROOT}/ImageSets/{kind}/{split}.txt" for kind in ("Main", "Segmentation")]
        written = [path for path in listed if staging.text_file(path, "list")]
        self.write_classes(staging, f"{ROOT}/classes.csv", context)
        return [*written, f"{ROOT}/classes.csv", f"{ROOT}/labelmap.txt"]

    def _label_map(self, staging: Staging, context: Context) -> None:
        """Write a line ``name:red,green,blue::`` per class; without the color if it has none."""
        one = self.foreground_only
        names = ["background", *["foreground"] * one, *context.classes.names]
        colored = 2 if one else 0 if self.is_wide(context) else len(names)
        palette = voc_palette()
        with staging.whole_file(f"{ROOT}/labelmap.txt") as file:
            file.write(b"# label:color_rgb:parts:actions\n")
            for value, name in enumerate(names):
                color = palette[3 * value : 3 * value + 3] if value < colored else []
                # A colon ends the name, and there is no way to write one.
                line = f"{name.replace(':', ' ')}:{','.join(map(str, color))}::\n"
                file.write(line.encode())

    def notes(self, counts: Counter[str], context: Context) -> list[str]:
        """Add how many images only seem to be JPEG."""
        notes = super().notes(counts, context)
        if counts["other ending"]:
            notes.append(
                f"{counts['other ending']:,} images are not JPEG files, but are named .jpg, "
                "as VOC's readers ask for"
            )
        return notes


def _image_xml(file_name: str, image: Prediction, context: Context) -> str:
    height, width = image_size(image)
    objects = "".join(
        _object_xml(context.classes.name(found.label), found) for found in image.localizations
    )
    return (
        "<annotation>\n"
        "\t<folder>VOC2012</folder>\n"
        f"\t<filename>{xml_text(file_name)}</filename>\n"
        "\t<source>\n"
        f"\t\t<database>{xml_text(context.run.dataset_name)}</database>\n"
        "\t\t<annotation>wsl</annotation>\n"
        "\t\t<image>unknown</image>\n"
        "\t</source>\n"
        "\t<size>\n"
        f"\t\t<width>{width}</width>\n"
        f"\t\t<height>{height}</height>\n"
        "\t\t<depth>3</depth>\n"
        "\t</size>\n"
        "\t<segmented>1</segmented>\n"
        f"{objects}"
        "</annotation>\n"
    )


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
