from __future__ import annotations

from pathlib import Path

import pytest

from wsl.data.categories import Categories
from wsl.data.open import open_dataset
from wsl.data.readers.ilsvrc import IlsvrcOptions
from wsl.data.synsets import match_categories
from wsl.errors import DataError

WNIDS = tuple(f"n{number:08}" for number in range(20))
NAMES = tuple(f"animal {number}, Animalis {number}" for number in range(20))


@pytest.fixture
def mapping(tmp_path) -> Path:
    path = tmp_path / "LOC_synset_mapping.txt"
    lines = [f"{wnid} {name}" for wnid, name in zip(WNIDS, NAMES, strict=True)]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_ids_of_the_classifier_stay(mapping):
    own = Categories(tuple(reversed(NAMES)), tuple(reversed(WNIDS)))
    assert match_categories(own, mapping) is own
    assert match_categories(own, mapping.with_name("none.txt")) is own


def test_a_dataset_of_fewer_classes_than_the_classifier(mapping):
    own = Categories((*NAMES, "one more"), (*WNIDS, "n99999999"))
    assert match_categories(own, mapping) is own


def test_a_wnid_that_the_classifier_lacks_is_refused(mapping):
    with pytest.raises(DataError, match=r"n00000018 is none of them \(2 of 20 are not\)"):
        match_categories(Categories(NAMES[:18], WNIDS[:18]), mapping)


@pytest.mark.parametrize(
    "names",
    [
        tuple(name.partition(",")[0].upper() for name in NAMES),
        tuple(f"Animalis {number}" for number in range(20)),
        ("other", "names", *NAMES[2:]),
        Categories.numbered(20).names,
    ],
    ids=["first synonyms", "second synonyms", "90 % agree", "no names"],
)
def test_wnids_by_position_keep_the_classifiers_names(mapping, names):
    assert match_categories(Categories(names), mapping) == Categories(names, WNIDS)


def test_another_order_is_refused(mapping):
    names = (NAMES[1], NAMES[2], NAMES[0], *NAMES[3:])
    with pytest.raises(
        DataError, match="only 85% of the names agree: class 0 is 'animal 1, Animalis 1' there"
    ):
        match_categories(Categories(names), mapping)


def test_another_number_of_classes_is_refused(mapping):
    with pytest.raises(DataError, match="each of the classifier's 19 classes, but has 20"):
        match_categories(Categories(NAMES[:19]), mapping)


def test_without_wnids_anywhere_there_is_nothing_to_match(mapping):
    with pytest.raises(DataError, match=r"no WNIDs, and there is no .*none\.txt"):
        match_categories(Categories(NAMES), mapping.with_name("none.txt"))


def test_a_mapping_without_wnids_is_refused(mapping):
    mapping.write_text("tench\ngoldfish\n")
    with pytest.raises(DataError, match="must hold a WNID and names on every line"):
        match_categories(Categories(("tench", "goldfish")), mapping)


@pytest.mark.data
def test_torchvisions_names_are_in_the_challenges_order(shared_data):
    from torchvision.models import ResNet50_Weights

    names = tuple(ResNet50_Weights.DEFAULT.meta["categories"])
    dataset = open_dataset(
        IlsvrcOptions(root=shared_data / "data" / "ilsvrc", limit=3), Categories(names)
    )
    assert dataset.categories.names == names
    assert dataset.categories.ids[134] == "n02012849"  # crane, the bird
    assert dataset.categories.ids[517] == "n03126707"  # crane, the machine
    assert [names[sample.label] for sample in dataset] == ["canoe", "tiger beetle", "lifeboat"]
