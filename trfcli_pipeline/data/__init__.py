"""Labeled texts in files: formats, records, labels, checks and atomic writes."""
