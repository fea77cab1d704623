"""Figures and pictures to one HTML page, and to JSON, CSV, Markdown and LaTeX."""

from __future__ import annotations

from wsl.report.gallery import PictureOptions
from wsl.report.page import build_report
from wsl.report.runs import ReportRun, Steps, quality_by_image
from wsl.report.tables import FORMATS, write_tables

__all__ = [
    "FORMATS",
    "PictureOptions",
    "ReportRun",
    "Steps",
    "build_report",
    "quality_by_image",
    "write_tables",
]
