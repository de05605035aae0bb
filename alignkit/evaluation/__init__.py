"""What a head is worth, with intervals, a verdict and a report."""
