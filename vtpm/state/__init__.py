"""What a TPM remembers, one module per lifetime or kind of entity."""
