"""Vectors on disk: computed once, never lost."""
