"""MTEB: a head as a model of it, folders of one's own as tasks, and shares of the teacher with intervals."""
