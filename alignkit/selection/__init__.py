"""Chooses a head within a time budget."""
