"""Vectors as an index stores them: fewer dimensions, one byte or one bit a number."""
