import numpy as np
import pytest

from wsl.draw.sheet import Cell, contact_sheet


def cell(color: int, *lines: str, height: int = 50, width: int = 80) -> Cell:
    return Cell(np.full((height, width, 3), color, np.uint8), lines)


def test_pictures_stand_in_rows_and_columns() -> None:
    cells = [cell(10 * (index + 1), "name", "facts") for index in range(5)]
    sheet = contact_sheet(cells, columns=3, size=(50, 80))
    places = [
        np.argwhere((sheet == 10 * (index + 1)).all(axis=2)).min(axis=0) for index in range(5)
    ]
    assert len({int(top) for top, _ in places}) == 2
    assert [int(left) for _, left in places[:3]] == sorted(int(left) for _, left in places[:3])
    assert places[3][1] == places[0][1]
    assert places[4][1] == places[1][1]


def test_smaller_pictures_are_centered_and_few_need_few_columns() -> None:
    sheet = contact_sheet([cell(9, height=10, width=20)], columns=5, size=(50, 80))
    at = np.argwhere((sheet == 9).all(axis=2))
    (top, left), (bottom, right) = at.min(axis=0), at.max(axis=0)
    assert sheet.shape[1] < 2 * 80
    assert abs((left + right) / 2 - sheet.shape[1] / 2) <= 1
    assert (bottom - top + 1, right - left + 1) == (10, 20)


def test_lines_and_title_are_cut_to_their_width() -> None:
    plain = contact_sheet([cell(99, "short")], size=(50, 80))
    long = contact_sheet([cell(99, "long " * 50)], size=(50, 80), title="title " * 50)
    assert long.shape[1] == plain.shape[1]
    assert long.shape[0] > plain.shape[0]


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ([], "at least one picture, but got none"),
        ([cell(1, height=51)], r"must fit into \(50, 80\)"),
    ],
    ids=["none", "too large"],
)
def test_what_is_no_sheet_is_refused(cells: list[Cell], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        contact_sheet(cells, size=(50, 80))
