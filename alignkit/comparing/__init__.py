"""Runs beside each other: which can be compared, what each is worth and costs a query, and which are worth having."""
