"""Text to vectors: one file per backend."""
