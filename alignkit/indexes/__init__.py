"""Users' indexes where they live: one file an engine; `base.VectorIndex` is the contract."""
