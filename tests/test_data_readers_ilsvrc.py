from __future__ import annotations

import time
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from wsl.data.categories import Categories
from wsl.data.open import dataset_fingerprint, open_dataset
from wsl.data.readers.ilsvrc import IlsvrcDataset, IlsvrcOptions
from wsl.errors import AnnotationError, DataError

CATEGORIES = Categories(("tench", "goldfish", "hen"), ("n01440764", "n01443537", "n01514859"))
TENCH, GOLDFISH, HEN = CATEGORIES.ids or ()


def put(path: Path, content: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    return path


def xml(*objects: tuple[str, object, object, object, object], size=(227, 227)) -> str:
    root = ET.Element("annotation")
    if size is not None:
        stated = ET.SubElement(root, "size")
        ET.SubElement(stated, "width").text = str(size[1])
        ET.SubElement(stated, "height").text = str(size[0])
    for wnid, *corners in objects:
        node = ET.SubElement(root, "object")
        ET.SubElement(node, "name").text = wnid
        box = ET.SubElement(node, "bndbox")
        for key, value in zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True):
            ET.SubElement(box, key).text = str(value)
    return ET.tostring(root, encoding="unicode")


def add_val(root: Path, image_id: str, annotation: str | None, *, ending: str = ".JPEG") -> Path:
    put(root / "Data/CLS-LOC/val" / f"{image_id}{ending}")
    path = root / "Annotations/CLS-LOC/val" / f"{image_id}.xml"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path if annotation is None else put(path, annotation)


def opened(root: Path, split: str = "val", categories: Categories = CATEGORIES, **options):
    return open_dataset(IlsvrcOptions(root=root, split=split, **options), categories)


def only(root: Path, annotation: str):
    """Sample of a dataset of one val image."""
    add_val(root, "v_1", annotation)
    return opened(root)[0]


def test_the_challenges_layout_is_read(tmp_path):
    add_val(tmp_path, "v_2", xml((HEN, 3, 4, 10, 20), (HEN, 0, 0, 226, 226)))
    add_val(tmp_path, "v_1", xml((TENCH, 5, 6, 5, 6), size=(100, 50)))
    put(tmp_path / "ImageSets/CLS-LOC/val.txt", "v_2 1\nv_1 2\n")
    dataset = opened(tmp_path)
    assert (dataset.name, dataset.image_ids) == ("ilsvrc val", ("v_2", "v_1"))
    hen, tench = dataset
    assert (hen.image_id, hen.label) == ("v_2", 2)
    assert hen.path == tmp_path / "Data/CLS-LOC/val/v_2.JPEG"
    assert hen.annotation.size == (227, 227)
    assert [i.box for i in hen.annotation.instances] == [(3, 4, 11, 21), (0, 0, 227, 227)]
    assert [i.label for i in hen.annotation.instances] == [2, 2]
    assert tench.annotation.size == (100, 50)
    assert tench.annotation.instances[0].box == (5, 6, 6, 7)


def test_an_inclusive_box_of_the_whole_image_is_the_whole_image(tmp_path):
    assert only(tmp_path, xml((TENCH, 0, 0, 226, 226))).annotation.instances[0].box == (
        0,
        0,
        227,
        227,
    )


def test_boxes_partly_outside_and_fractional_ones_are_kept(tmp_path):
    sample = only(tmp_path, xml((TENCH, -3, 5.25, 227, 300.5)))
    assert sample.annotation.instances[0].box == (-3, 5.25, 228, 301.5)


def test_without_annotations_wanted_the_label_stays(tmp_path):
    add_val(tmp_path, "v_1", xml((HEN, 1, 1, 2, 2)))
    sample = opened(tmp_path).sample(0, annotated=False)
    assert (sample.label, sample.annotation) == (2, None)


def test_an_image_without_annotation_file_has_no_label(tmp_path):
    add_val(tmp_path, "v_1", None)
    sample = opened(tmp_path)[0]
    assert (sample.label, sample.annotation) == (None, None)


def test_an_annotation_without_objects_has_no_label(tmp_path):
    sample = only(tmp_path, xml())
    assert sample.label is None
    assert sample.annotation.instances == ()


def test_an_unknown_size_is_none(tmp_path):
    assert only(tmp_path, xml((TENCH, 900, 0, 950, 9), size=None)).annotation.size is None
    assert only(tmp_path, xml((TENCH, 900, 0, 950, 9), size=(0, 0))).annotation.size is None


BOMB = """<!DOCTYPE annotation [
  <!ENTITY a "aaaaaaaaaaaaaaaaaaaa"> <!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">
  <!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;"> <!ENTITY d "&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;">
]><annotation><object><name>&d;</name></object></annotation>"""
OUTSIDE_FILE = """<!DOCTYPE annotation [<!ENTITY x SYSTEM "file:///etc/passwd">]>
<annotation><object><name>&x;</name></object></annotation>"""

HOSTILE = {
    "wholly outside": (xml((TENCH, 300, 10, 400, 20)), r"box 1 \(300, 10, 400, 20\) lies outside"),
    "outside by one pixel": (
        xml((TENCH, 0, 0, 9, 9), (TENCH, 227, 0, 230, 9)),
        r"box 2 \(227, 0, 230, 9\) lies outside of the image of 227 × 227",
    ),
    "left of the image": (xml((TENCH, -9, 0, -1, 9)), "lies outside"),
    "reversed": (xml((TENCH, 50, 10, 49, 20)), r"box 1 .* must have xmin <= xmax"),
    "reversed in y": (xml((TENCH, 10, 20, 50, 19)), r"ymin <= ymax"),
    "a word": (
        xml((TENCH, "ten", 0, 5, 5)),
        "must be 4 finite numbers, but is 'ten, 0, 5, 5'",
    ),
    "nothing": (xml((TENCH, "", 0, 5, 5)), "must be 4 finite numbers"),
    "nan": (xml((TENCH, "nan", 0, 5, 5)), "must be 4 finite numbers"),
    "too large": (xml((TENCH, 0, 0, "1e999", 5)), "must be 4 finite numbers"),
    "no box": (
        f"<annotation><object><name>{TENCH}</name></object></annotation>",
        "4 finite numbers",
    ),
    "size in words": (xml((TENCH, 0, 0, 5, 5), size=("high", 5)), "'high' and 5"),
    "two classes": (
        xml((TENCH, 0, 0, 5, 5), (HEN, 0, 0, 5, 5)),
        f"of one class, but they are '{TENCH}' and '{HEN}'",
    ),
    "unknown class": (xml(("n99999999", 0, 0, 5, 5)), "class 'n99999999' is not one of"),
    "empty file": ("", "not well-formed XML"),
    "cut off": (xml((TENCH, 0, 0, 5, 5))[:60], "not well-formed XML"),
    "text": ("no XML at all", "not well-formed XML"),
    "unknown encoding": ("<?xml version='1.0' encoding='klingon'?><annotation/>", "well-formed"),
    "other root": ("<html/>", "must be an <annotation>, but is a <html>"),
    "entity bomb": (BOMB, "must have no document type, entities"),
    "external entity": (OUTSIDE_FILE, "must have no document type, entities"),
    "document type": ("<!DOCTYPE annotation><annotation/>", "must have no document type"),
    "vast": ("<annotation>" + " " * 1_000_000 + "</annotation>", "at most 1,000,000 bytes"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_annotations_are_refused_by_name(tmp_path, kind):
    content, reason = HOSTILE[kind]
    add_val(tmp_path, "v_0", xml((HEN, 0, 0, 5, 5)))
    path = add_val(tmp_path, "v_1", content)
    dataset = opened(tmp_path)
    begin = time.process_time()
    for annotated in (True, False):
        with pytest.raises(AnnotationError, match=reason) as caught:
            dataset.sample(1, annotated=annotated)
        assert str(path) in str(caught.value)
    assert time.process_time() - begin < 1
    assert dataset[0].label == 2  # the others are not concerned


def test_latin_1_bytes_in_an_annotation_are_refused(tmp_path):
    path = add_val(tmp_path, "v_1", "")
    path.write_bytes(b"<annotation><folder>\xe9</folder></annotation>")
    with pytest.raises(AnnotationError, match="not well-formed XML"):
        opened(tmp_path)[0]


def test_names_with_spaces_and_other_letters(tmp_path):
    names = ["größe 図 3", "ein Bild"]
    for name in names:
        add_val(tmp_path, name, xml((HEN, 0, 0, 5, 5)))
    assert opened(tmp_path).image_ids == ("ein Bild", "größe 図 3")
    put(tmp_path / "ImageSets/CLS-LOC/val.txt", "größe 図 3\nein Bild\n")
    assert [(s.image_id, s.label) for s in opened(tmp_path)] == [(name, 2) for name in names]
    put(tmp_path / "ImageSets/CLS-LOC/val.txt", "größe 図 3 1\r\nein Bild 2\r\n\r\n")
    assert opened(tmp_path).image_ids == tuple(names)
    assert all(sample.path.exists() for sample in opened(tmp_path))


@pytest.mark.parametrize("ending", [".jpg", ".JPG", ".jpeg", ".png", ".webp", ".bmp"])
def test_other_extensions_do_where_jpeg_is_absent(tmp_path, ending):
    add_val(tmp_path, "v_1", None, ending=ending)
    assert opened(tmp_path)[0].path.name == f"v_1{ending}"


def test_a_listed_image_that_is_missing_keeps_its_place(tmp_path):
    add_val(tmp_path, "v_1", xml((HEN, 0, 0, 5, 5)))
    put(tmp_path / "ImageSets/CLS-LOC/val.txt", "gone 1\nv_1 2\n")
    gone = opened(tmp_path)[0]
    assert gone.path == tmp_path / "Data/CLS-LOC/val/gone.JPEG"
    assert gone.label is None


def solutions(root: Path, *rows: str, split: str = "val") -> Path:
    path = root / f"LOC_{split}_solution.csv"
    return put(path, "\n".join(["ImageId,PredictionString", *rows]) + "\n")


def test_the_csv_lists_and_annotates_where_there_is_nothing_else(tmp_path):
    put(tmp_path / "Data/CLS-LOC/val/v_1.JPEG")
    solutions(tmp_path, f"v_2,{HEN} 3 4 10 20 {HEN} 0 0 226 226 ", f"v_1,{TENCH} -1 2 3 4.5")
    dataset = opened(tmp_path)
    assert dataset.image_ids == ("v_1", "v_2")  # as the challenge's list, not as the CSV
    tench, hen = dataset
    assert (tench.label, hen.label) == (0, 2)
    assert tench.annotation.instances[0].box == (-1, 2, 4, 5.5)
    assert [i.box for i in hen.annotation.instances] == [(3, 4, 11, 21), (0, 0, 227, 227)]
    assert hen.annotation.size is None
    assert dataset.sample(1, annotated=False).label == 2
    assert dataset.sample(1, annotated=False).annotation is None


def test_the_xml_goes_before_the_csv(tmp_path):
    add_val(tmp_path, "v_1", xml((HEN, 0, 0, 5, 5)))
    solutions(tmp_path, f"v_1,{TENCH} 0 0 5 5")
    assert opened(tmp_path)[0].label == 2


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (f"v_1,{HEN} 1 2 3", "solution.csv: v_1: each box must be a WNID and four numbers"),
        (f"v_1,{HEN} 1 2 x 4", r"v_1: box 1 must be 4 finite numbers, but is '1, 2, x, 4'"),
        (f"v_1,{HEN} 1 2 3 4 {HEN} 9 2 3 4", r"v_1: box 2 \(9, 2, 3, 4\) must have xmin"),
        (f"v_1,{HEN} 1 2 3 4 {TENCH} 1 2 3 4", f"they are '{HEN}' and '{TENCH}'"),
        ("v_1,n99999999 1 2 3 4", "class 'n99999999' is not one of"),
    ],
    ids=["cut", "word", "reversed", "two classes", "unknown class"],
)
def test_a_wrong_row_concerns_its_image_only(tmp_path, row, reason):
    put(tmp_path / "Data/CLS-LOC/val/v_1.JPEG")
    solutions(tmp_path, row, f"v_2,{HEN} 0 0 5 5")
    dataset = opened(tmp_path)
    with pytest.raises(AnnotationError, match=reason):
        dataset.sample(0)
    assert dataset[1].label == 2


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("id,boxes\n", "line 1 must be ImageId,PredictionString"),
        ("ImageId,PredictionString\nv_1\n", "line 2 must be ImageId,PredictionString"),
        ("ImageId,PredictionString\nv_1,a\nv_1,b\n", "line 3 .*each image once"),
        ("ImageId,PredictionString\n../v_1,a\n", r"names '\.\./v_1'"),
    ],
    ids=["header", "one column", "twice", "outside"],
)
def test_a_csv_of_another_layout_is_refused(tmp_path, content, reason):
    put(tmp_path / "Data/CLS-LOC/val/v_1.JPEG")
    put(tmp_path / "LOC_val_solution.csv", content)
    with pytest.raises(DataError, match=reason):
        opened(tmp_path)


def add_train(root: Path, image_id: str, annotation: str | None = None) -> None:
    put(root / "Data/CLS-LOC/train" / f"{image_id}.JPEG")
    if annotation is not None:
        put(root / "Annotations/CLS-LOC/train" / f"{image_id}.xml", annotation)


def test_train_has_labels_from_folders_and_boxes_for_a_part(tmp_path):
    add_train(tmp_path, f"{HEN}/{HEN}_7", xml((HEN, 1, 2, 3, 4)))
    add_train(tmp_path, f"{TENCH}/{TENCH}_9")
    put(tmp_path / "Data/CLS-LOC/train" / HEN / "readme.txt")
    dataset = opened(tmp_path, "train")
    assert dataset.image_ids == (f"{TENCH}/{TENCH}_9", f"{HEN}/{HEN}_7")
    assert dataset.skipped == 1
    tench, hen = dataset
    assert (tench.label, tench.annotation) == (0, None)
    assert hen.annotation.instances[0].box == (1, 2, 4, 5)
    assert hen.path == tmp_path / f"Data/CLS-LOC/train/{HEN}/{HEN}_7.JPEG"


def test_labels_of_train_need_no_annotation_file(tmp_path):
    add_train(tmp_path, f"{HEN}/{HEN}_7", "no XML")
    dataset = opened(tmp_path, "train")
    assert dataset.sample(0, annotated=False).label == 2
    with pytest.raises(AnnotationError, match="not well-formed"):
        dataset.sample(0)


def test_lists_of_train(tmp_path):
    for image_id in (f"{HEN}/{HEN}_1", f"{HEN}/{HEN}_2", f"{HEN}/{HEN}_3"):
        add_train(tmp_path, image_id, xml((HEN, 1, 2, 3, 4)))
    put(tmp_path / "ImageSets/CLS-LOC/train_cls.txt", f"{HEN}/{HEN}_2 1\n{HEN}/{HEN}_1 2\n")
    put(tmp_path / "ImageSets/CLS-LOC/train_loc.txt", f"{HEN}/{HEN}_3 1\n")
    assert opened(tmp_path, "train").image_ids == (f"{HEN}/{HEN}_2", f"{HEN}/{HEN}_1")
    listed = opened(tmp_path, "train_loc")
    assert listed.name == "ilsvrc train_loc"
    assert listed[0].annotation.instances[0].box == (1, 2, 4, 5)


def test_a_train_folder_of_no_class_concerns_its_images_only(tmp_path):
    add_train(tmp_path, "n99999999/n99999999_1")
    add_train(tmp_path, f"{HEN}/{HEN}_1")
    dataset = opened(tmp_path, "train")
    with pytest.raises(AnnotationError, match="image n99999999/n99999999_1: class 'n99999999'"):
        dataset.sample(1, annotated=False)
    assert dataset[0].label == 2


def test_boxes_of_train_come_from_the_csv_where_there_is_no_xml(tmp_path):
    add_train(tmp_path, f"{HEN}/{HEN}_1")
    add_train(tmp_path, f"{HEN}/{HEN}_2")
    solutions(tmp_path, f"{HEN}/{HEN}_2,{HEN} 1 2 3 4", split="train")
    first, second = opened(tmp_path, "train")
    assert (first.label, first.annotation) == (2, None)
    assert second.annotation.instances[0].box == (1, 2, 4, 5)


def test_other_splits_are_laid_out_as_val(tmp_path):
    put(tmp_path / "Data/CLS-LOC/tune/d_1.JPEG")
    put(tmp_path / "Annotations/CLS-LOC/tune/d_1.xml", xml((HEN, 1, 2, 3, 4)))
    assert opened(tmp_path, "tune")[0].label == 2


def test_the_layout_of_the_archive_with_a_folder_more(tmp_path):
    add_val(tmp_path / "ILSVRC", "v_1", None)
    (tmp_path / "ILSVRC/Annotations/CLS-LOC/val").rmdir()
    solutions(tmp_path, f"v_1,{HEN} 0 0 5 5")
    assert opened(tmp_path)[0].label == 2


def test_an_unknown_split_names_those_there_are(tmp_path):
    add_val(tmp_path, "v_1", None)
    add_train(tmp_path, f"{HEN}/{HEN}_1")
    put(tmp_path / "ImageSets/CLS-LOC/train_loc.txt", "")
    with pytest.raises(DataError, match=r"has no split 'x'. Choose from: train, val, train_loc\."):
        opened(tmp_path, "x")
    with pytest.raises(DataError, match="Did you mean val"):
        opened(tmp_path, "vall")


def test_a_folder_of_another_kind_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"must have the folder .*CLS-LOC, but it does not exist"):
        opened(tmp_path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [("a 1\nb 2\na 3\n", "names 'a' twice"), ("../a 1\n", r"but names '\.\./a'")],
)
def test_a_wrong_list_is_refused(tmp_path, content, reason):
    add_val(tmp_path, "v_1", None)
    put(tmp_path / "ImageSets/CLS-LOC/val.txt", content)
    with pytest.raises(DataError, match=reason):
        opened(tmp_path)


def test_a_list_of_other_bytes_is_refused(tmp_path):
    add_val(tmp_path, "v_1", None)
    put(tmp_path / "ImageSets/CLS-LOC/val.txt").write_bytes(b"\xff\xfe\xe9\n")
    with pytest.raises(DataError, match=r"cannot read .*val\.txt"):
        opened(tmp_path)


def test_two_images_of_one_name_are_refused(tmp_path):
    add_val(tmp_path, "v_1", None)
    add_val(tmp_path, "v_1", None, ending=".png")
    with pytest.raises(DataError, match="names 'v_1' twice"):
        opened(tmp_path)


def test_long_lists_are_quick(tmp_path):
    (tmp_path / "Data/CLS-LOC/train").mkdir(parents=True)
    ids = [f"{TENCH}/{TENCH}_{number}" for number in range(200_000)]
    lines = "".join(f"{image_id} {number}\n" for number, image_id in enumerate(ids, 1))
    put(tmp_path / "ImageSets/CLS-LOC/train_cls.txt", lines)
    begin = time.process_time()
    dataset = opened(tmp_path, "train")
    assert time.process_time() - begin < 2
    assert dataset.image_ids == tuple(ids)
    assert dataset.sample(199_999, annotated=False).label == 0


def test_samples_are_read_when_asked_for(tmp_path):
    add_val(tmp_path, "v_1", xml((HEN, 0, 0, 5, 5)))
    path = add_val(tmp_path, "v_2", "no XML")
    dataset = opened(tmp_path)
    path.write_text(xml((TENCH, 0, 0, 5, 5)))
    assert dataset[1].label == 0
    assert dataset[-1].image_id == "v_2"
    with pytest.raises(IndexError, match="out of range"):
        dataset[2]


@pytest.mark.data
def test_the_650_images_agree_with_every_file_beside_them(shared_data, tmp_path):
    root = shared_data / "data" / "ilsvrc"
    mapping = root / "LOC_synset_mapping.txt"
    categories = Categories.from_file(mapping)
    from_xml = opened(root, categories=categories)
    assert len(from_xml) == 650

    # The same images without XML, so that the CSV is all there is.
    for name in ("Data", "LOC_val_solution.csv"):
        (tmp_path / name).symlink_to((root / name).resolve())
    from_csv = opened(tmp_path, categories=categories)
    assert isinstance(from_csv, IlsvrcDataset)
    assert from_csv.image_ids == from_xml.image_ids
    assert dataset_fingerprint(from_csv) == dataset_fingerprint(from_xml)

    wnids = [line.split()[0] for line in mapping.read_text().splitlines()]
    stated = root / "Annotations/CLS-LOC/val"
    for by_xml, by_csv in zip(from_xml, from_csv, strict=True):
        assert by_xml.path.exists()
        assert by_xml.annotation.instances
        assert by_xml.annotation.size == (227, 227)
        assert by_xml.annotation.instances == by_csv.annotation.instances
        assert by_xml.label == by_csv.label
        assert wnids[by_xml.label] in (stated / f"{by_xml.image_id}.xml").read_text()
        for x0, y0, x1, y1 in by_xml.annotation.boxes():
            assert 0 <= x0 < x1 <= 227
            assert 0 <= y0 < y1 <= 227
    boxes = [i.box for sample in from_xml for i in sample.annotation.instances]
    assert any(box[0] == 0 for box in boxes)
    assert any(box[2] == 227 for box in boxes)
