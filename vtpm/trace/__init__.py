"""Captured commands and responses as lines to read, from the declarations that execute them."""
