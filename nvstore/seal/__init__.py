"""What keeps a provider's key on a host: files, passphrases, the host's TPM, other services."""
