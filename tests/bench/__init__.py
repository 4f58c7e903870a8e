"""Timing of this TPM beside swtpm: `make bench`."""
