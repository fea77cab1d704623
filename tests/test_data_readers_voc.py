import numpy as np
import pytest
from PIL import Image

from wsl.data.categories import Categories
from wsl.data.readers.voc import VocDataset
from wsl.errors import AnnotationError, DataError
from wsl.masks import decode_rle

KNOWN = Categories(("dog", "sheep", "n02123045 tabby"))


def xml_object(name, box, difficult=0, extra=""):
    corners = "".join(
        f"<{key}>{value}</{key}>"
        for key, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
    )
    return (
        f"<object><name>{name}</name>{extra}<difficult>{difficult}</difficult>"
        f"<bndbox>{corners}</bndbox></object>"
    )


def write_xml(root, image_id, *objects, size=(8, 10), filename=None):
    (root / "Annotations" / f"{image_id}.xml").write_text(
        f"<annotation><folder>VOC2012</folder><filename>{filename or image_id + '.jpg'}</filename>"
        f"<size><width>{size[1]}</width><height>{size[0]}</height><depth>3</depth></size>"
        f"<segmented>0</segmented>{''.join(objects)}</annotation>"
    )


def write_values(root, folder, image_id, values):
    picture = Image.fromarray(np.asarray(values, np.uint8)).convert("P")
    picture.putdata(np.asarray(values, np.uint8).ravel().tolist())
    (root / folder).mkdir(exist_ok=True)
    picture.save(root / folder / f"{image_id}.png")


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "VOCdevkit" / "VOC2012"
    for name in ("ImageSets/Main", "ImageSets/Segmentation", "Annotations", "JPEGImages"):
        (folder / name).mkdir(parents=True)
    (folder / "ImageSets/Main/val.txt").write_text("2007_000032\n2007_000033\n")
    (folder / "ImageSets/Segmentation/val.txt").write_text("2007_000033\n")
    (folder / "ImageSets/Main/dog_val.txt").write_text("2007_000032  1\n2007_000033 -1\n")
    head = (
        "<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax>"
        "<ymax>2</ymax></bndbox></part>"
    )
    write_xml(
        folder,
        "2007_000032",
        xml_object("dog", (1, 1, 4, 3)),
        xml_object("person", (5, 5, 10, 8), extra=head),
        xml_object("dog", (6.5, 2, 9, 4), difficult=1),
    )
    write_xml(
        folder, "2007_000033", xml_object("dog", (1, 1, 4, 3)), xml_object("sheep", (6, 6, 7, 7))
    )
    return folder


def test_boxes_are_one_based_inclusive_in_the_files_and_half_open_here(root):
    sample = VocDataset(root, KNOWN, split="val")[0]
    assert sample.path == root / "JPEGImages" / "2007_000032.jpg"
    assert sample.annotation.size == (8, 10)
    assert sample.annotation.boxes().tolist() == [[0, 0, 4, 3], [4, 4, 10, 8], [5.5, 1, 9, 4]]
    assert [(i.label, i.ignore) for i in sample.annotation.instances] == [
        (0, False),
        (-1, False),
        (0, True),
    ]


def test_the_label_is_the_only_known_class_of_the_image(root):
    one, several = VocDataset(root, KNOWN, split="val")
    assert (one.label, one.annotation.labels) == (0, (0,))
    assert (several.label, several.annotation.labels) == (None, (0, 1))
    only_sheep = Categories(("sheep",))
    assert [s.label for s in VocDataset(root, only_sheep, split="val")] == [None, 0]


def test_an_object_to_be_ignored_gives_no_label(root):
    write_xml(root, "2007_000033", xml_object("sheep", (1, 1, 4, 3), difficult=1))
    sample = VocDataset(root, KNOWN, split="val")[1]
    assert (sample.label, sample.annotation.labels) == (None, ())


def test_values_of_the_object_image_are_the_objects_in_order(root):
    values = np.zeros((8, 10), int)
    values[0:3, 0:3] = 1
    values[0:3, 3] = 255
    values[5:7, 5:9] = 2
    write_values(root, "SegmentationObject", "2007_000032", values)
    annotation = VocDataset(root, KNOWN, split="val")[0].annotation
    dog, person, hidden = annotation.instances
    assert (decode_rle(dog.mask, (8, 10)) == (values == 1)).all()
    assert (decode_rle(person.mask, (8, 10)) == (values == 2)).all()
    assert hidden.mask is None
    assert (decode_rle(annotation.ignore_mask, (8, 10)) == (values == 255)).all()
    without = VocDataset(root, KNOWN, split="val").sample(0, annotated=False)
    assert (without.label, without.annotation) == (0, None)


def test_values_of_the_class_image_are_for_the_only_one_of_a_class(root):
    values = np.zeros((8, 10), int)
    values[0:3, 0:3] = 12  # dog
    values[5:7, 5:9] = 15  # person
    write_values(root, "SegmentationClass", "2007_000032", values)
    dog, person, hidden = VocDataset(root, KNOWN, split="val")[0].annotation.instances
    assert dog.mask is None
    assert hidden.mask is None
    assert (decode_rle(person.mask, (8, 10)) == (values == 15)).all()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.full((8, 10), 4), "has an object 4, but the XML file has 3 objects"),
        (np.full((8, 11), 1), "must be 10 × 8 pixels, but is 11 × 8"),
        (np.pad([[1, 2]], ((7, 0), (8, 0))), r"pixels of object 1 must lie in its box \(0.0, 0.0"),
    ],
    ids=["too many", "size", "order"],
)
def test_an_object_image_of_another_annotation_is_refused(root, values, message):
    write_values(root, "SegmentationObject", "2007_000032", values)
    with pytest.raises(AnnotationError, match=message):
        VocDataset(root, KNOWN, split="val").sample(0)


def test_a_colored_object_image_is_refused(root):
    (root / "SegmentationObject").mkdir()
    Image.new("RGB", (10, 8)).save(root / "SegmentationObject/2007_000032.png")
    with pytest.raises(
        AnnotationError, match=r"must be an indexed or gray PNG or BMP, but is a PNG of mode RGB"
    ):
        VocDataset(root, KNOWN, split="val").sample(0)


def test_a_class_image_with_other_values_is_not_read(root):
    write_values(root, "SegmentationClass", "2007_000032", np.full((8, 10), 15))
    (root / "classes.csv").write_text("value,category,id\n15,tench,n01440764\n")
    annotation = VocDataset(root, KNOWN, split="val")[0].annotation
    assert {instance.mask for instance in annotation.instances} == {None}


def test_ids_that_are_paths_come_back(root):
    (root / "ImageSets/Main/val.txt").write_text("dogs%2Ffirst%20one\n")
    write_xml(root, "dogs%2Ffirst%20one", xml_object("dog", (1, 1, 4, 3)))
    (root / "JPEGImages/dogs%2Ffirst%20one.png").touch()
    sample = VocDataset(root.parent.parent, KNOWN, split="val")[0]
    assert sample.image_id == "dogs/first one"
    assert sample.path == root / "JPEGImages/dogs%2Ffirst%20one.png"
    assert sample.label == 0


def test_the_names_of_an_export_are_undone(root):
    (root / "ImageSets/Main/val.txt").write_text("long~0a1b\ntwo\nten%25\n")
    for name in ("long~0a1b", "two", "ten%25"):
        write_xml(root, name, xml_object("dog", (1, 1, 4, 3)))
    names = root.parent.parent / "names.csv"
    names.write_text('image_id,name\n"long, and ""longer""",long~0a1b\ntwo.jpg,two\n')
    dataset = VocDataset(root, KNOWN, split="val")
    assert dataset.image_ids == ('long, and "longer"', "two.jpg", "ten%25")
    names.write_text("name,image_id\n")
    with pytest.raises(DataError, match=r"names\.csv must have the columns image_id,name, but"):
        VocDataset(root, KNOWN, split="val")


def test_lists_elsewhere_and_the_folder_above(root):
    dataset = VocDataset(root.parent, KNOWN, split="Segmentation/val")
    assert dataset.image_ids == ("2007_000033",)
    assert dataset.name == "VOC2012 Segmentation/val"


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ("test", r"no list of images .*Main/test\.txt; beside it: dog_val, val"),
        ("dog_val", r"line 1 of .*dog_val\.txt must be 'image id', but is '2007_000032  1'"),
    ],
)
def test_a_wrong_list_is_refused(root, split, message):
    with pytest.raises(DataError, match=message):
        VocDataset(root, KNOWN, split=split)


def test_a_folder_without_annotations_is_refused(root):
    with pytest.raises(DataError, match=r"must have a folder Annotations, or one .* but has none"):
        VocDataset(root / "ImageSets", KNOWN, split="val")


def test_a_classifier_that_knows_no_class_is_refused(root):
    with pytest.raises(DataError, match=r"none of the 3 classes of .* \(dog, person, sheep\)"):
        VocDataset(root, Categories(("cat",)), split="val")


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (xml_object("dog", (0, 1, 4, 3)), "VOC's boxes are 1-based, but xmin and ymin are 0 and 1"),
        (xml_object("dog", (1, 1, 11, 3)), "reaches over the border of the image of 10 × 8"),
        (xml_object("dog", (5, 1, 4, 3)), r"xmax and ymax \(4, 3\) must not lie before"),
        (xml_object("dog", (1, 1, "", 3)), "object 1 must be 4 finite numbers, but is '1, 1, , 3'"),
        (xml_object("dog", (1, 1, "nan", 3)), "object 1 must be 4 finite numbers"),
        (xml_object("", (1, 1, 2, 3)), "object 1 must have a name"),
        (xml_object("dog", (1, 1, 2, 3), difficult=2), "difficult must be 0 or 1, found '2'"),
        ("<object><name>dog</name></object>", "object 1 must be 4 finite numbers, but is ', , , '"),
        ("<object>", "is not well-formed XML"),
    ],
)
def test_a_wrong_object_concerns_its_image_only(root, item, message):
    write_xml(root, "2007_000032", item)
    dataset = VocDataset(root, KNOWN, split="val")
    with pytest.raises(AnnotationError, match=message):
        dataset.sample(0)
    assert len(dataset[1].annotation.instances) == 2


def test_the_annotation_of_another_image_is_refused(root):
    write_xml(root, "2007_000032", filename="2007_000099.jpg")
    with pytest.raises(AnnotationError, match=r"must be of the image '2007_000032', but .*000099"):
        VocDataset(root, KNOWN, split="val").sample(0)


def test_other_xml_and_a_wrong_size_are_refused(root):
    write_xml(root, "2007_000032", size=("ten", 10))
    (root / "Annotations/2007_000033.xml").write_text("<html/>")
    dataset = VocDataset(root, KNOWN, split="val")
    with pytest.raises(AnnotationError, match="must be positive integers, but are 'ten' and 10"):
        dataset.sample(0)
    with pytest.raises(AnnotationError, match="must be an <annotation>, but is a <html>"):
        dataset.sample(1)


def test_entities_are_not_expanded(root):
    (root / "Annotations/2007_000032.xml").write_text(
        '<!DOCTYPE a [<!ENTITY x "xxxxxxxx">]><annotation>&x;</annotation>'
    )
    with pytest.raises(AnnotationError, match=r"must have no document type"):
        VocDataset(root, KNOWN, split="val").sample(0)
