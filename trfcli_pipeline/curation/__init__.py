"""Answers about labeled and unlabeled texts: label errors, what to label next, what more gains."""
