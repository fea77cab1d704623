"""Speed and memory: ``python -m eval.speed``."""
