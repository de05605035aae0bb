"""Does a job in numbered parts: in this process, in a pool of processes, or on a Ray cluster."""
