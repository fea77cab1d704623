import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from wsl.saliency.base import choose, mean_over_views, per_image, these, top_k, top_k_and

SCORES = torch.tensor([[1.0, 5.0, 3.0, 5.0], [9.0, 0.0, 2.0, 1.0]])


def test_top_k_takes_the_lower_class_of_equals():
    assert top_k(3)(SCORES).tolist() == [[1, 3, 2], [0, 2, 3]]
    assert top_k(9)(SCORES).shape == (2, 4)
    with pytest.raises(ValueError, match="k must be at least 1, but got 0"):
        top_k(0)


def test_top_k_and_leaves_the_slot_empty_where_the_label_is_there_or_unknown():
    scores = torch.cat([SCORES, SCORES[:1]])
    assert top_k_and(torch.tensor([2, 2, -1]), 2)(scores).tolist() == [
        [1, 3, 2],
        [0, 2, -1],
        [1, 3, -1],
    ]


def test_these_gives_what_it_got_and_counts():
    classes = torch.tensor([[1, -1], [0, 2]])
    assert these(classes)(SCORES).tolist() == classes.tolist()
    with pytest.raises(ValueError, match="classes for 1 images, but got 2"):
        these(classes)(SCORES[:1])


def test_per_image_selects_from_the_mean_and_repeats():
    # Each view alone would choose another class than the mean does.
    scores = torch.tensor([[4.0, 3.0, 0.0], [0.0, 3.0, 4.0], [1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    assert per_image(top_k(1), 2)(scores).tolist() == [[1], [1], [0], [0]]
    assert mean_over_views(scores, 2).tolist() == [[2, 3, 2], [1, 0, 0]]


def test_per_image_needs_all_views():
    with pytest.raises(ValueError, match="3 inputs are no multiple of 2 views"):
        per_image(top_k(1), 2)(torch.zeros(3, 4))


@given(images=st.integers(1, 4), views=st.integers(1, 5), k=st.integers(1, 6))
def test_per_image_gives_all_views_one_choice(images, views, k):
    classes = per_image(top_k(k), views)(torch.randn(images * views, 6))
    by_image = classes.reshape(images, views, k)
    assert (by_image == by_image[:, :1]).all()


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (torch.tensor([[0], [4]]), "must be in 0 to 3"),
        (torch.tensor([[0], [-2]]), "must be in 0 to 3"),
        (torch.tensor([0, 1]), r"of shape \(2, K\)"),
        (torch.tensor([[0]]), r"of shape \(2, K\)"),
        (torch.tensor([[0.0], [1.0]]), "must return int64 classes"),
    ],
    ids=["too large", "too small", "one axis", "too few", "float"],
)
def test_choose_refuses_what_is_no_choice(classes, message):
    with pytest.raises(ValueError, match=message):
        choose(lambda scores: classes, SCORES)


def test_choose_shows_the_selector_detached_scores():
    scores = SCORES.clone().requires_grad_()
    seen = []
    choose(lambda given: seen.append(given.requires_grad) or top_k(1)(given), scores)
    assert seen == [False]
