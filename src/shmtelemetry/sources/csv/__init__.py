"""CSV: rows of a growing file, each of which is one record."""
