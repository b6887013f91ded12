"""Data files: formats, records, labels, checks, message wording and atomic writes."""
