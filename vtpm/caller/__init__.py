"""The caller's side of the commands: what they are made of, and a TPM whose commands are methods."""
