"""The command line: `vtpm`."""
