"""What the observability service does under load, over real sockets on loopback."""
