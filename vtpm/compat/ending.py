"""
How a program in swtpm's place begins and ends: standard streams that are there, and failures that are seen.

Whoever starts such a program, as libvirt does, often reads nothing but the log that the command line names.
"""

import contextlib
import io
import logging
import os
import sys
import traceback
from collections.abc import Callable
from typing import Final, NoReturn, TextIO

FAILED: Final = 1
INDESCRIBABLE: Final = "backslashreplace"
"""What becomes of characters that a stream has no octets for: an odd name must not stop a program."""

log = logging.getLogger(__name__)


def obey(
    program: str,
    run: Callable[[list[str]], int],
    refusals: tuple[type[Exception], ...],
    start_log: Callable[[list[str]], None],
) -> NoReturn:
    """
    Run a program with the process's arguments, and exit with its status.

    One of the `refusals` gives its cause and remedy; any other exception is a defect of this program.
    What ends it goes to standard error and to the log, which `start_log` finds on the command line
    where the program had not come so far as to start it.
    On standard error the program's name stands in front, unless it is empty.
    """
    open_missing_streams()
    words = sys.argv[1:]
    try:
        status = run(words)
    except KeyboardInterrupt:
        status = FAILED
    except refusals as error:
        status = _failed(program, str(error), words, start_log)
    except OSError as error:
        place = error.filename if isinstance(error.filename, str) else "a system call"
        status = _failed(program, f"{place}: {error.strerror or error}", words, start_log)
    except Exception as error:  # noqa: BLE001 - it is reported, where it would be lost with standard error
        said = f"{type(error).__name__}: a defect of this program; report it with what follows"
        status = _failed(program, said, words, start_log, error)
    sys.exit(status)


def _failed(
    program: str,
    said: str,
    words: list[str],
    start_log: Callable[[list[str]], None],
    defect: Exception | None = None,
) -> int:
    handlers = logging.getLogger().handlers
    if not handlers:
        with contextlib.suppress(Exception):  # the command line may be what is wrong
            start_log(words)
    is_logged = bool(handlers) and not any(getattr(one, "stream", None) is sys.stderr for one in handlers)
    if is_logged:
        log.error("%s", said, exc_info=defect)
    with contextlib.suppress(OSError):
        sys.stderr.write(f"{program}: {said}\n" if program else f"{said}\n")
        if defect is not None and not is_logged:
            traceback.print_exception(defect)
        sys.stderr.flush()
    return FAILED


def open_missing_streams() -> None:
    """
    Open the null device in the place of standard streams that are closed.

    Otherwise the next socket or file would get such a number, and be closed or written to by mistake.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)
            os.set_inheritable(number, True)  # noqa: FBT003 - the only parameter
        if getattr(sys, name) is None:
            mode = "r" if number == 0 else "w"
            setattr(sys, name, open(number, mode, errors=INDESCRIBABLE, closefd=False))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=INDESCRIBABLE)


class LogHandler(logging.StreamHandler[TextIO]):
    """Lines of a log; where they cannot be written any more, standard error says so, once."""

    is_broken = False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002, N802 - as logging calls it
        """See logging.Handler."""
        if not self.is_broken:
            self.is_broken = True
            with contextlib.suppress(OSError):
                sys.stderr.write(f"the log cannot be written: {sys.exception()}\n")


def log_to(descriptor: int) -> TextIO:
    """The stream of a log: any text, whatever the locale."""
    return os.fdopen(descriptor, "a", buffering=1, encoding="utf-8", errors=INDESCRIBABLE)


def last_value(option: str, words: list[str]) -> str | None:
    """What the command line gives an option, as far as that can be seen before it is parsed."""
    found = None
    for word, following in zip(words, [*words[1:], None], strict=True):
        name, equals, value = word.partition("=")
        if name == option:
            found = value if equals else following
    return found
