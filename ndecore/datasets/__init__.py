"""Data sets: readers of real ones, and trajectories of known equations."""
