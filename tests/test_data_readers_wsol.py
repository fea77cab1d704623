from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wsl.data.categories import Categories
from wsl.data.readers.wsol import WsolDataset
from wsl.errors import AnnotationError, DataError
from wsl.masks import decode_rle

TWO = Categories(("tench", "goldfish"))


def write_lists(folder: Path, **lists: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in lists.items():
        (folder / f"{name}.txt").write_text(content)
    return folder.parent


@pytest.fixture
def boxes(tmp_path):
    """Lists in the layout of metadata/ILSVRC/val."""
    return write_lists(
        tmp_path / "metadata" / "birds" / "val",
        image_ids="val2/0/a.jpeg\nval2/1/b.jpeg\n",
        class_labels="val2/0/a.jpeg,0\nval2/1/b.jpeg,1\n",
        image_sizes="val2/0/a.jpeg,20,10\nval2/1/b.jpeg,8,8\n",
        localization="val2/0/a.jpeg,1,2,4,3\nval2/1/b.jpeg,0,0,7,7\nval2/1/b.jpeg,2,2,2,2\n",
    )


def save(path: Path, array: np.ndarray, mode: str | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(array)
    (picture.convert(mode) if mode else picture).save(path)


@pytest.fixture
def masks(tmp_path):
    """Lists, images and masks in the layout of metadata/OpenImages/val: two instances in one."""
    root = tmp_path / "dataset" / "OpenImages"
    folder = root / "val" / "01226z"
    for name in ("one", "two"):
        save(folder / f"{name}.jpg", np.full((6, 8, 3), 90, np.uint8))
    first, second, ignore = (np.zeros((6, 8), np.uint8) for _ in range(3))
    first[1:3, 1:4] = 255
    second[4:, 5:] = 1
    ignore[2:5, :] = 255
    save(folder / "one_m01226z_aa.png", first)
    save(folder / "one_m01226z_bb.png", second)
    save(folder / "one_ignore.png", ignore)
    # Half the size of its image.
    save(folder / "two_m01226z_cc.png", np.eye(3, 4, dtype=np.uint8) * 255, "1")
    metadata = write_lists(
        tmp_path / "metadata" / "mine" / "val",
        image_ids="val/01226z/one.jpg\nval/01226z/two.jpg\n",
        class_labels="val/01226z/one.jpg,1\nval/01226z/two.jpg,0\n",
        localization=(
            "val/01226z/one.jpg,val/01226z/one_m01226z_aa.png,val/01226z/one_ignore.png\n"
            "val/01226z/one.jpg,val/01226z/one_m01226z_bb.png,\n"
            "val/01226z/two.jpg,val/01226z/two_m01226z_cc.png,\n"
        ),
    )
    return root, metadata


def test_boxes_are_inclusive_in_the_lists_and_half_open_here(boxes, tmp_path):
    dataset = WsolDataset(tmp_path, TWO, metadata=boxes, split="val")
    assert dataset.image_ids == ("val2/0/a.jpeg", "val2/1/b.jpeg")
    assert dataset.name == "birds val"
    first, second = dataset
    assert (first.label, second.label) == (0, 1)
    assert first.path == tmp_path / "val2/0/a.jpeg"
    assert first.annotation.size == (10, 20)
    assert first.annotation.boxes().tolist() == [[1, 2, 5, 4]]
    assert second.annotation.boxes(1).tolist() == [[0, 0, 8, 8], [2, 2, 3, 3]]
    assert dataset.sample(1, annotated=False).annotation is None


def test_training_lists_have_no_annotation(boxes, tmp_path):
    (boxes / "val" / "localization.txt").unlink()
    (boxes / "val" / "image_sizes.txt").unlink()
    sample = WsolDataset(tmp_path, TWO, metadata=boxes, split="val")[0]
    assert sample.label == 0
    assert sample.annotation is None


def test_masks_with_an_ignore_mask(masks):
    root, metadata = masks
    one = WsolDataset(root, TWO, metadata=metadata, split="val")[0].annotation
    assert one.size == (6, 8)
    assert [instance.label for instance in one.instances] == [1, 1]
    assert one.boxes().tolist() == [[1, 1, 4, 3], [5, 4, 8, 6]]
    second = decode_rle(one.instances[1].mask, one.size)
    assert np.argwhere(second).tolist() == [[y, x] for y in (4, 5) for x in (5, 6, 7)]
    # Rows 2 to 4 less the pixels of the two instances.
    assert decode_rle(one.ignore_mask, one.size).sum() == 3 * 8 - 3 - 3
    assert not (decode_rle(one.ignore_mask, one.size) & second).any()


def test_a_mask_of_another_size_is_brought_to_the_image(masks):
    root, metadata = masks
    two = WsolDataset(root, TWO, metadata=metadata, split="val")[1].annotation
    expected = np.kron(np.eye(3, 4, dtype=bool), np.ones((2, 2), dtype=bool))
    assert two.size == (6, 8)
    assert (decode_rle(two.instances[0].mask, two.size) == expected).all()
    assert two.ignore_mask is None
    # And is kept as it is stored.
    assert (two.instances[0].stored_mask.decode() == np.eye(3, 4, dtype=bool)).all()


def test_an_empty_or_missing_mask_concerns_its_image_only(masks):
    root, metadata = masks
    save(root / "val/01226z/one_m01226z_bb.png", np.zeros((6, 8), np.uint8))
    (root / "val/01226z/two_m01226z_cc.png").unlink()
    dataset = WsolDataset(root, TWO, metadata=metadata, split="val")
    one = dataset.sample(0).annotation
    assert one.boxes().tolist() == [[1, 1, 4, 3]]
    with pytest.raises(AnnotationError, match=r"the mask .*two_m01226z_cc\.png"):
        dataset.sample(1)
    assert dataset.sample(1, annotated=False).label == 0


def test_a_missing_image_leaves_masks_without_size(masks):
    root, metadata = masks
    (root / "val/01226z/one.jpg").unlink()
    with pytest.raises(
        AnnotationError, match=r"needs the image's size: .*one\.jpg: there is no such file"
    ):
        WsolDataset(root, TWO, metadata=metadata, split="val").sample(0)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("image_ids", "a\na\n", r"must name each image once, but names 'a' twice"),
        ("image_ids", "\n", r"image_ids\.txt must hold lines of 'image_id', but is empty"),
        ("class_labels", "val2/0/a.jpeg,x\n", r"line 1 of .*: the class must be 0 or more"),
        (
            "class_labels",
            "val2/0/a.jpeg,999999999\n",
            r"line 1 of .*: the class must be 0 or more and below 1,000,000",
        ),
        ("class_labels", "val2/0/a.jpeg\n", r"line 1 of .* must be 'image_id,class', but is"),
        ("class_labels", "c.jpeg,0\n", r"line 1 .*: 'c\.jpeg' is not in image_ids\.txt"),
        (
            "class_labels",
            "val2/0/a.jpeg,0\nval2/0/a.jpeg,1\n",
            r"line 2 .*: 'val2/0/a\.jpeg' has two classes",
        ),
        ("image_sizes", "val2/0/a.jpeg,0,4\n", "width and height must be positive"),
        ("localization", "c.jpeg,0,0,1,1\n", r"'c\.jpeg' is not in image_ids\.txt"),
        ("localization", "val2/0/a.jpeg,0,0,1.5,1\n", r"must be integers, found '0,0,1\.5,1'"),
        (
            "localization",
            "val2/0/a.jpeg,0,0,1,1\nval2/1/b.jpeg,m.png,\n",
            r"line 2 of .* must be 'image_id,x0,y0,x1,y1 or image_id,mask,ignore_mask'",
        ),
        ("localization", "val2/0/a.jpeg,,\n", r"line 1 .* must name a mask"),
        (
            "localization",
            "val2/0/a.jpeg,m.png,i.png\nval2/0/a.jpeg,n.png,j.png\n",
            r"line 2 .*: only the first line of an image names an ignore mask",
        ),
    ],
)
def test_a_broken_list_is_refused(boxes, tmp_path, name, content, message):
    write_lists(boxes / "val", **{name: content})
    with pytest.raises(DataError, match=message):
        WsolDataset(tmp_path, TWO, metadata=boxes, split="val")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0,0,30,9", r"a\.jpeg'.* reaches over the border of the image of 20 × 10 pixels"),
        ("5,0,3,9", "must not lie before its start"),
    ],
)
def test_a_wrong_box_concerns_its_image_only(boxes, tmp_path, line, message):
    write_lists(boxes / "val", localization=f"val2/0/a.jpeg,{line}\nval2/1/b.jpeg,0,0,7,7\n")
    dataset = WsolDataset(tmp_path, TWO, metadata=boxes, split="val")
    with pytest.raises(AnnotationError, match=message):
        dataset.sample(0)
    assert dataset.sample(1).annotation is not None


def test_an_image_without_a_line_is_an_error_of_that_image(boxes, tmp_path):
    write_lists(boxes / "val", localization="val2/0/a.jpeg,0,0,1,1\n")
    dataset = WsolDataset(tmp_path, TWO, metadata=boxes, split="val")
    with pytest.raises(AnnotationError, match=r"localization\.txt .* has no line for 'val2/1/b"):
        dataset.sample(1)


@pytest.mark.parametrize("count", [1, 3, 1000])
def test_classes_are_numbers_so_the_counts_must_agree(boxes, tmp_path, count):
    with pytest.raises(DataError, match=f"has 2 classes, .* and the classifier {count}"):
        WsolDataset(tmp_path, Categories.numbered(count), metadata=boxes, split="val")


def test_a_part_of_a_published_list_keeps_its_number_of_classes(boxes, tmp_path):
    cub = boxes.rename(boxes.parent / "CUB")
    dataset = WsolDataset(tmp_path, Categories.numbered(200), metadata=cub, split="val")
    assert dataset[1].label == 1
    with pytest.raises(DataError, match=r"has 200 classes, .* and the classifier 1000"):
        WsolDataset(tmp_path, Categories.numbered(1000), metadata=cub, split="val")


def test_an_unknown_split_lists_those_that_there_are(boxes, tmp_path):
    with pytest.raises(DataError, match=r"no list of the split 'test' in .*: found \['val'\]"):
        WsolDataset(tmp_path, TWO, metadata=boxes, split="test")
