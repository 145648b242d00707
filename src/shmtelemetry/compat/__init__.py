"""Faces of other libraries over this one's rings: applications change an import line."""
