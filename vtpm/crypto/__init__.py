"""The TPM's cryptography in terms of pyca/cryptography, and of gmpy2 where that lacks an operation."""
