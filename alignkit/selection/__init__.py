"""Which head, within a budget."""
