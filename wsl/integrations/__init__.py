"""The tools that people already use: one file each, whose package is imported only when needed."""
