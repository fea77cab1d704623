"""Predictions and annotations -> figures with their intervals, beside the trivial baselines."""
