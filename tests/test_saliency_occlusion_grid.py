import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from wsl.saliency.occlusion_grid import MaskGrid

GRIDS = st.builds(
    MaskGrid,
    st.tuples(st.integers(1, 12), st.integers(1, 12)),
    st.integers(1, 15),
    st.integers(1, 6),
)


def spans(grid, axis):
    return [(mask[axis].start, mask[axis].stop) for mask in grid]


def test_masks_at_every_pixel_are_centered_and_clipped():
    grid = MaskGrid((1, 5), 3)
    assert grid.shape == (1, 5)
    assert spans(grid, 1) == [(0, 2), (0, 3), (1, 4), (2, 5), (3, 5)]
    assert [grid.center(0, column) for column in range(5)] == [(0, x) for x in range(5)]


def test_a_mask_of_71_at_stride_1_gives_a_map_of_the_images_size():
    grid = MaskGrid((224, 224), 71)
    assert len(grid) == 224 * 224 == 50_176
    masks = list(grid)
    assert masks[0] == (slice(0, 36), slice(0, 36))
    assert masks[100 * 224 + 150] == (slice(65, 136), slice(115, 186))
    assert masks[-1] == (slice(188, 224), slice(188, 224))


def test_wider_strides_leave_the_same_at_both_borders():
    # 8 pixels at stride 3 hold the centers 0 3 6 or 1 4 7: the first has one pixel after the last
    # center, the other one before the first. Rounded down, as for the first.
    assert [MaskGrid((1, 8), 1, 3).center(0, c)[1] for c in range(3)] == [0, 3, 6]
    assert [MaskGrid((1, 9), 1, 3).center(0, c)[1] for c in range(3)] == [1, 4, 7]
    assert MaskGrid((224, 224), 71, 4).shape == (56, 56)


def test_interpolation_worked_by_hand():
    grid = MaskGrid((1, 9), 3, 4)  # centers 0, 4, 8
    found = grid.interpolate(torch.tensor([[0.0, 4.0, 0.0]]))
    assert found.tolist() == [[0, 1, 2, 3, 4, 3, 2, 1, 0]]
    # Centers 1, 4, 7: constant beyond them.
    found = MaskGrid((1, 9), 3, 3).interpolate(torch.tensor([[3.0, 0.0, 6.0]]))
    torch.testing.assert_close(found, torch.tensor([[3.0, 3, 2, 1, 0, 2, 4, 6, 6]]))


@given(grid=GRIDS)
def test_masks_lie_inside_and_hold_their_centers(grid):
    masks = list(grid)
    height, width = grid.input_size
    assert len(masks) == len(grid) == grid.shape[0] * grid.shape[1]
    for rows, columns in masks:
        assert 0 <= rows.start < rows.stop <= height
        assert 0 <= columns.start < columns.stop <= width
    for index, (rows, columns) in enumerate(masks):
        y, x = grid.center(*divmod(index, grid.shape[1]))
        assert rows.start <= y < rows.stop
        assert columns.start <= x < columns.stop


@given(grid=GRIDS, data=st.data())
def test_maps_stay_between_the_values_and_are_exact_where_masks_are_centered(grid, data):
    seed = data.draw(st.integers(0, 99))
    values = torch.rand(2, *grid.shape, generator=torch.Generator().manual_seed(seed))
    found = grid.interpolate(values)
    assert found.shape == (2, *grid.input_size)
    assert found.min() >= values.min() - 1e-6
    assert found.max() <= values.max() + 1e-6
    for index in range(len(grid)):
        row, column = divmod(index, grid.shape[1])
        y, x = grid.center(row, column)
        torch.testing.assert_close(found[:, y, x], values[:, row, column])


@given(height=st.integers(1, 8), width=st.integers(1, 8), size=st.integers(1, 9))
def test_with_stride_1_the_map_is_the_values(height, width, size):
    grid = MaskGrid((height, width), size)
    values = torch.randn(grid.shape)
    assert torch.equal(grid.interpolate(values), values)


@given(length=st.integers(1, 20), size=st.integers(0, 5), stride=st.integers(1, 5))
def test_odd_masks_are_symmetric_where_the_grid_is(length, size, stride):
    grid = MaskGrid((1, length), 2 * size + 1, stride)
    if (length - 1) % stride % 2:
        return
    there = spans(grid, 1)
    assert [(length - stop, length - start) for start, stop in there[::-1]] == there


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((4, 4), 0, 1), "must be at least 1, but got 0, 1"),
        (((4, 4), 3, 0), "must be at least 1, but got 3, 0"),
        (((0, 4), 3, 1), r"must be at least 1, but got 3, 1 and \(0, 4\)"),
    ],
    ids=["size", "stride", "input"],
)
def test_wrong_grids_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        MaskGrid(*arguments)
