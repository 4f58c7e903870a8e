"""Entry points that take the place of swtpm's programs: the same arguments, this TPM."""
