"""A student made from nothing but the teacher: a table of token vectors, in closed form."""
