"""Whether a head is still as good as its report says, on the queries that really come."""
