"""A process that goes on by itself once it has begun to serve."""

import os
import sys
from collections.abc import Callable


def detached() -> Callable[[], None]:
    """
    Go on in a process of its own; what is returned there says that it serves.

    The process that calls this ends then, with status 0, or with that of the new one if it ends before.
    To be called before anything starts threads, or opens what two processes must not share.
    """
    served, serves = os.pipe()
    child = os.fork()
    if child:
        os.close(serves)
        is_serving = os.read(served, 1) != b""
        os._exit(0 if is_serving else max(1, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])))
    os.close(served)
    os.setsid()

    def tell() -> None:
        sys.stdout.flush()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())  # whoever reads it would wait for its end
        os.close(nowhere)
        os.write(serves, b"1")
        os.close(serves)

    return tell
