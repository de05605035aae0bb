"""alignkit: let a cheap embedding model stand in for an expensive one."""

__version__ = "0.1.0"
