"""What the command `migrate` does: a file moved to another, or one step of a migration inside an engine."""
