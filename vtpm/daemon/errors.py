"""Errors for the operator of a host."""


class OperatorError(Exception):
    """What an operator can mend; the text gives the cause and the remedy, and no traceback is needed."""
