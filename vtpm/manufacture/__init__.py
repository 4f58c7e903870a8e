"""What a platform's maker puts into a TPM: endorsement keys, certificates, active PCR banks."""
