"""From seeds to a mask: one file per method."""
