"""From seeds to a mask: one file per method, behind `wsl.localize.refiners.base`."""
