"""The demo: a dataset that is drawn, not downloaded, and a small classifier that knows it."""
