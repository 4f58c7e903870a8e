"""Windows 11 in a VM with a TPM of this project: installed from an ISO, checked from inside and outside."""
