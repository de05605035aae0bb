"""Heads: one file each, closed-form solvers beside them."""
