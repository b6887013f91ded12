"""The command line of the project: `trf`. The work itself is done by `trfcli_pipeline`."""
