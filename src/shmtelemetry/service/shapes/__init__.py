"""What answers look like, as the OpenAPI document tells it. Nothing is made of these classes."""
