from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# How long an example takes depends on what else the machine does.
settings.register_profile("wsl", deadline=None)
settings.load_profile("wsl")


def _shared(*, part: str) -> Path:
    beside = Path(__file__).resolve().parents[2] / "shared"
    root = Path(os.environ.get("WSL_TEST_DATA", beside))
    if not (root / part).is_dir():
        message = f"there is no {root / part}: set $WSL_TEST_DATA to the folder that has {part}"
        # Where the data must be there (CI), tests that miss it fail.
        (pytest.fail if os.environ.get("WSL_REQUIRE_DATA") else pytest.skip)(message)
    return root


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder with data/ilsvrc, data/photos and weights."""
    return _shared(part="data")


@pytest.fixture(scope="session")
def shared_weights() -> Path:
    """Folder of the weights' files."""
    return _shared(part="weights") / "weights"
