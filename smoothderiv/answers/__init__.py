"""What is asked of a posterior: gradients, bands, places, regions, words, and files to keep it."""
