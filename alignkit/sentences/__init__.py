"""Sentences: records, files, splits, builders and importers."""
