"""The kill loop: writers are killed at any moment, and nothing that they acknowledged is lost."""
