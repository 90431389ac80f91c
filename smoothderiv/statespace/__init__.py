"""Engine 2: Gaussian curves with a Markov state, by Kalman filter and smoother in O(n)."""
