"""Where vectors and texts come from: pairs to train on and sets to measure on, one file a source."""
