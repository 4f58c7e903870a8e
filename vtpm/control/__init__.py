"""The protocols by which a hypervisor or a client controls a TPM, without any input or output."""
