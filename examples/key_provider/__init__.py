"""The life of a key provider, on three hosts that are directories of one machine."""
