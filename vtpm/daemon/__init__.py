"""TPMs behind sockets, with their state in a store: the only package of the TPM that does I/O."""
