"""The state of a TPM as libtpms and swtpm store it, so that a VM can move here, and back."""
