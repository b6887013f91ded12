"""Metrics for text classifiers, their uncertainty, and the report that shows them."""
