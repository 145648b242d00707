"""Benchmarks of shmtelemetry, of its peers, and the gates that follow from them."""
