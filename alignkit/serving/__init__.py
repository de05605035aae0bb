"""The embedding endpoint."""
