"""What `embed` does to a vector cache."""
