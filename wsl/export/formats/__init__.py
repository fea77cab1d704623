"""One file per export format, which describes the files it writes."""
