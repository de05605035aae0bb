"""The HTTP engine under every embedder that speaks to a server."""
