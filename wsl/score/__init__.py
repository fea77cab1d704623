"""Predictions and annotations -> estimates with their intervals, beside the trivial baselines."""
