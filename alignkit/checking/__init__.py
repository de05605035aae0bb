"""What `check` looks at: the machine, the embedders, an index, the cache."""
