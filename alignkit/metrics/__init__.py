"""Alignment and retrieval metrics as pure functions."""
