"""One TPM with its stored state, free of sockets: how it comes up, is saved, moves, and is looked at."""
