"""The monitoring pack: from one catalogue of metrics everything that a monitoring system reads. docs/monitoring.md"""
