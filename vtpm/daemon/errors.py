"""Errors for the operator of a host."""


class OperatorError(Exception):
    """What an operator can mend; the text gives the cause and the remedy, and no traceback is needed."""


class DeviceError(OperatorError):
    """The TPM cannot be brought up, or its state cannot be used; the text gives cause and remedy."""
