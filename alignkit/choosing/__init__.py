"""Which sentences the teacher should embed, within a budget of calls."""
