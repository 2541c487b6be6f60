"""Studies in simulated time: recorded curves in the place of training, everything else as it runs."""
