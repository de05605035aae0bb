"""What a head is worth: one call that measures, one result."""
