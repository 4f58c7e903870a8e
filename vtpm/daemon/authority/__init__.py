"""The host's certificate authority: its key and certificate, and what it certifies."""
