"""Data files: formats, records, labels, checks, message wording; and the outputs of commands."""
