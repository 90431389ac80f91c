"""Noise that is not as stated: heavy tails, a level that varies along x, autocorrelation."""
