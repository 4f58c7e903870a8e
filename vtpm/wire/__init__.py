"""How octets become values: the TPM's grammar as constructs, and `@structure`."""
