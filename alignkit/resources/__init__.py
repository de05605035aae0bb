"""The packaged demo vectors."""
