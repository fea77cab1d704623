"""Estimates and pictures to one HTML page, and to JSON, CSV, Markdown and LaTeX."""
