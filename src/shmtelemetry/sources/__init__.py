"""Outside data in: each source is a producer, whose records enter through a ring like all others."""
