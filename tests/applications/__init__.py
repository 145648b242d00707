"""Applications that tests run as programs of their own."""
