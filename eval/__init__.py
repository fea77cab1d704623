"""The evidence behind every published figure; see README.md. Never installed."""
