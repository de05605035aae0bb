"""What every client of a model's server needs: its address as people type it, and its words as data."""
