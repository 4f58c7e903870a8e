"""The command pipeline: octets in, `Outcome` out."""
