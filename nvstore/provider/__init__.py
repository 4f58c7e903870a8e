"""Key providers: their keys, life cycle, backups, and how other hosts get them."""
