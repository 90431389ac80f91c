"""The band solver: the squared exponential on a line as white noise on a grid, smoothed."""
