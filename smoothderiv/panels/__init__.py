"""Many series at once: read from one table, tuned apart or together, by all cores."""
