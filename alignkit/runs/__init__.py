"""The folder of a run: its layout, its baselines, and what tells which pairs its head was trained on."""
