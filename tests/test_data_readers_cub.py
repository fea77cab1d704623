import numpy as np
import pytest
from PIL import Image

from wsl.data.categories import Categories
from wsl.data.readers.cub import CubDataset
from wsl.errors import AnnotationError, DataError
from wsl.masks import decode_rle

BIRDS = Categories(("Laysan Albatross", "Black footed Albatross", "toaster"))
LISTS = {
    "images.txt": (
        "1 001.Black_footed_Albatross/Black_Footed_Albatross_0046_18.jpg\n"
        "2 001.Black_footed_Albatross/Black_Footed_Albatross_0009_34.jpg\n"
        "3 002.Laysan_Albatross/Laysan_Albatross_0002_1027.jpg\n"
        "4 003.Sooty_Albatross/Sooty_Albatross_0003_1078.jpg\n"
    ),
    "image_class_labels.txt": "1 1\n2 1\n3 2\n4 3\n",
    "bounding_boxes.txt": (
        "1 2.0 1.0 4.0 3.0\n2 0.0 0.0 9.0 7.0\n3 5.0 4.0 5.0 4.0\n4 1.0 1.0 1.0 1.0\n"
    ),
    "train_test_split.txt": "1 0\n2 1\n3 0\n4 0\n",
    "classes.txt": "1 001.Black_footed_Albatross\n2 002.Laysan_Albatross\n3 003.Sooty_Albatross\n",
}


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "CUB_200_2011"
    folder.mkdir()
    for name, content in LISTS.items():
        (folder / name).write_text(content)
    votes = np.zeros((8, 10), np.uint8)
    # One more annotator in each column, from none to all five.
    votes[2, :6] = np.arange(6) * 51
    path = folder / "segmentations" / "001.Black_footed_Albatross"
    path.mkdir(parents=True)
    Image.fromarray(votes).convert("LA").save(path / "Black_Footed_Albatross_0046_18.png")
    return folder


def test_reads_the_test_split_in_order(root):
    dataset = CubDataset(root, BIRDS, split="test")
    assert [image_id.split(".")[0] for image_id in dataset.image_ids] == ["001", "002", "003"]
    assert len(CubDataset(root, BIRDS, split="train")) == 1
    assert len(CubDataset(root, BIRDS, split="all")) == 4
    first, second, unknown = dataset
    assert first.path == root / "images" / first.image_id
    # By name and not by number: the classifier has another order.
    assert (first.label, second.label, unknown.label) == (1, 0, None)
    assert unknown.annotation.instances[0].label == -1
    assert first.annotation.boxes().tolist() == [[2, 1, 6, 4]]
    assert second.annotation.boxes().tolist() == [[5, 4, 10, 8]]
    assert dataset.sample(0, annotated=False).annotation is None


def test_a_mask_is_where_most_annotators_saw_the_bird(root):
    annotation = CubDataset(root, BIRDS, split="test")[0].annotation
    assert annotation.size == (8, 10)
    mask = decode_rle(annotation.instances[0].mask, annotation.size)
    assert np.argwhere(mask).tolist() == [[2, 3], [2, 4], [2, 5]]


def test_segmentations_may_lie_beside_and_may_be_missing(root):
    (root / "segmentations").rename(root.parent / "segmentations")
    dataset = CubDataset(root.parent, BIRDS, split="test")
    assert dataset[0].annotation.instances[0].mask is not None
    assert dataset[1].annotation.instances[0].mask is None
    assert dataset[1].annotation.size is None


def test_categories_without_names_are_in_the_order_of_the_birds(root):
    dataset = CubDataset(root, Categories.numbered(3), split="test")
    assert [sample.label for sample in dataset] == [0, 1, 2]


@pytest.mark.parametrize(
    "categories",
    [Categories.numbered(1000), Categories(("cat", "dog", "toaster"))],
    ids=["numbered", "other names"],
)
def test_a_classifier_that_knows_no_bird_is_refused(root, categories):
    with pytest.raises(DataError, match="knows none of the 3 classes of CUB-200-2011"):
        CubDataset(root, categories, split="test")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("images.txt", "1 a.jpg\n1 b.jpg\n", "must have one line per number, but 1 has two"),
        ("images.txt", "1 a.jpg\n2 a.jpg\n4 a.jpg", "'a.jpg' twice"),
        ("classes.txt", "1\n", "line 1 of .* must be '<class number> <name>', but is '1'"),
        ("train_test_split.txt", "1 2\n", "image 1 must be in split 0 or 1"),
        ("bounding_boxes.txt", "1 0 0 9\n", "line 1 of .*bounding_boxes.txt must be"),
    ],
)
def test_a_broken_list_is_refused(root, name, content, message):
    (root / name).write_text(content)
    with pytest.raises(DataError, match=message):
        CubDataset(root, BIRDS, split="all")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("bounding_boxes.txt", "2 0 0 1 1\n", r"bounding_boxes\.txt: image 1 .* has no line"),
        ("bounding_boxes.txt", "1 0 0 a 1\n", r"must be 4 finite numbers, but is '0, 0, a, 1'"),
        ("bounding_boxes.txt", "1 0 0 -3 1\n", "must not lie before its start"),
        ("bounding_boxes.txt", "1 0 0 40 1\n", "reaches over the border of the image of 10 × 8"),
        ("image_class_labels.txt", "1 9\n", r"class of image 1 .* but is '9'"),
        ("image_class_labels.txt", "2 1\n", r"class of image 1 .* but is 'missing'"),
    ],
)
def test_a_wrong_entry_concerns_its_image_only(root, name, content, message):
    (root / name).write_text(content)
    dataset = CubDataset(root, BIRDS, split="test")
    with pytest.raises(AnnotationError, match=message):
        dataset.sample(0)
