"""Errors of the layers below, as messages of the command line."""

from collections.abc import Iterator
from contextlib import contextmanager

import click

from vtpm.daemon.errors import OperatorError


@contextmanager
def explained() -> Iterator[None]:
    """Turn an error that gives its cause and remedy into a message, and leave a defect as it is."""
    from nvstore import NvstoreError  # noqa: PLC0415 - help needs no store

    try:
        yield
    except (NvstoreError, OperatorError) as error:
        raise click.ClickException(str(error)) from None
    except BrokenPipeError:
        raise  # whoever reads what is printed has seen enough
    except PermissionError as error:
        raise click.ClickException(
            f"{error.filename}: permission denied; run as the user who owns it, or choose other directories "
            "with --state-dir and --run-dir"
        ) from None
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        raise click.ClickException(f"{place}{error.strerror}; mend that and try again") from None
