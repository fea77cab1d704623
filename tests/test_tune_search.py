"""The two searches, on functions that can be looked through."""

from hypothesis import given
from hypothesis import strategies as st

from wsl.tune.search import coordinate_descent, grid_search
from wsl.tune.space import SearchSpace

SPACE = SearchSpace({"localize.a": (0, 1, 2), "localize.b": (0, 1, 2)})


class Function:
    """Estimates of a 3 x 3 table, and of the start; counts what is asked for."""

    def __init__(self, table, start):
        self.table, self.start = table, start
        self.asked = []

    def __call__(self, tried):
        self.asked += [tuple(one.items()) for one in tried]
        return [self.of(one) for one in tried]

    def of(self, choices):
        a, b = (choices.get(f"localize.{name}", self.start[name]) for name in "ab")
        return self.table[a][b]


estimates = st.integers(0, 5)
tables = st.lists(st.lists(estimates, min_size=3, max_size=3), min_size=3, max_size=3)
starts = st.fixed_dictionaries({"a": st.integers(0, 2), "b": st.integers(0, 2)})


@given(tables, starts)
def test_a_grid_finds_the_first_best_of_all(table, start):
    function = Function(table, start)
    found = grid_search(SPACE, function)
    best = max(max(row) for row in table)
    assert function.of(found) == best
    if function.of({}) == best:
        assert found == {}
    else:
        order = [(a, b) for a in range(3) for b in range(3)]
        first = next((a, b) for a, b in order if table[a][b] == best)
        assert tuple(found.values()) == first
    assert len(function.asked) == 10


@given(tables, starts)
def test_descent_ends_where_no_single_key_helps(table, start):
    function = Function(table, start)
    found = coordinate_descent(SPACE, function, passes=20)
    best = function.of(found)
    assert best >= function.of({})
    for key, values in SPACE.values.items():
        assert all(function.of({**found, key: value}) <= best for value in values)


def test_descent_follows_its_definition():
    function = Function([[0, 1, 0], [2, 0, 5], [3, 4, 0]], {"a": 0, "b": 0})
    # a: 0 -> 2 (3); b: 0 -> 1 (4); the second pass changes nothing, though (1, 2) is better.
    assert coordinate_descent(SPACE, function, passes=9) == {"localize.a": 2, "localize.b": 1}
    assert len(function.asked) == 4 * 4


def test_descent_stops_after_its_passes():
    function = Function([[0, 1, 0], [0, 2, 3], [0, 0, 4]], {"a": 0, "b": 0})
    assert coordinate_descent(SPACE, function, passes=1) == {"localize.b": 1}
    assert coordinate_descent(SPACE, function, passes=5) == {"localize.a": 2, "localize.b": 2}


def test_of_equals_what_there_was_stays():
    function = Function([[1, 1, 1]] * 3, {"a": 1, "b": 1})
    assert coordinate_descent(SPACE, function, passes=3) == {}
    assert grid_search(SPACE, function) == {}
