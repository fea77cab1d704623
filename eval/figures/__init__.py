"""Scripts that make figures of accuracy, and pictures."""
