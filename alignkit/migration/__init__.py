"""Moves an index of student vectors into the teacher's space, without its texts."""
