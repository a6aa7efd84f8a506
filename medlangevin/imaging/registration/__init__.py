"""Where the ears of a scan are, how the reference lies on each, and whether to trust it."""
