"""Leaves that join this library to what others wrote. Nothing is imported here but what is asked for."""
