"""Noise that is not as said: of heavy tails, of a level that varies, or that hangs together."""
