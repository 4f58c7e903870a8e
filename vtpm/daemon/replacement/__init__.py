"""A daemon that takes over from the one that runs: the messages between them, and either side."""
