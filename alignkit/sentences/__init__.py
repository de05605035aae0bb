"""Sentences and data sets of them: read, normalise, split by group, build, import, check for leaks."""
