"""Evaluate text classifiers: metrics, confidence intervals, calibration, comparison, report."""
