"""Every picture: overlays, montages, strips of the steps, attributions, files."""
