"""A second of damaged files for each reader; `fuzz` does it for as long as one likes."""

import fuzz
import pytest


@pytest.mark.slow
@pytest.mark.parametrize("name", fuzz.READERS)
def test_damaged_files_are_read_or_refused(tmp_path, name):
    found = fuzz.fuzz(name, 1, 0, tmp_path)
    assert found["finds"] == []
    assert found["read"] + found["refused"] == found["calls"] > 0
