"""Why a state cannot be carried over."""


class ForeignStateError(Exception):
    """A state of swtpm cannot be read or written; the text gives cause and remedy."""
