"""Packages of the extras that the checks install in a step of their own."""

from __future__ import annotations

import importlib
import os
from types import ModuleType

import pytest


def package(name: str) -> ModuleType:
    """Import a package; without it the test skips, or fails where $WSL_REQUIRE_EXTRAS is set."""
    if os.environ.get("WSL_REQUIRE_EXTRAS"):
        return importlib.import_module(name)
    return pytest.importorskip(name)
