"""Drawings and lists that commands print."""
