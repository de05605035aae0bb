"""Moving an index that a student built into the teacher's space, without its texts."""
