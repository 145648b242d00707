"""Where applications look for make_asgi_app."""

from .exposition import make_asgi_app

__all__ = ["make_asgi_app"]
