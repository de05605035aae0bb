"""The front door in Python: train a head on two arrays, judge it, use it, keep it."""
