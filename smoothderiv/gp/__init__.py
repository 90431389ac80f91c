"""Engine 3: Gaussian processes by their covariance, in any number of dimensions."""
