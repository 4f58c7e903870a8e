"""A Linux guest with a TPM, made of Debian's own QEMU, firmware, kernel, busybox and tpm2-tools."""
