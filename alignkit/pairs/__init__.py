"""Where pairs of student and teacher vectors come from: one file a source."""
