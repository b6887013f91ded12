"""Outputs of commands: recognized, locked, checked, staged, replaced in one step, and swept.

`directories` and `files` have what commands use. An output is locked from the first look to the
last rename. Only what `trf` wrote is ever replaced; whatever else is there stays.
"""
