"""How a command ends that fails: one line with a hint, and an exit code."""

import signal
import sys
import textwrap
import traceback

from trfcli import console
from trfcli.signals import Terminated

EXIT_ERROR = 1
EXIT_USAGE = 2
EXIT_SIGNAL = 128  # plus the signal's number, as shells report it
MEMORY_HINT = "Use smaller batches, a smaller model, or a machine with more memory"


def report(error: BaseException) -> int:
    """Print an error as one line with a hint, and return the exit code."""
    if console.settings.debug:
        traceback.print_exception(error, file=sys.stderr)
    if isinstance(error, KeyboardInterrupt):
        if sys.stderr.isatty():
            # The cursor stands after the terminal's ^C.
            print(file=sys.stderr)
        # The library adds a note if an output was replaced already.
        notes = getattr(error, "__notes__", [console.settings.if_interrupted])
        if isinstance(error, Terminated):
            console.fail(f"Terminated; {', '.join(notes)}.")
            return EXIT_SIGNAL + error.number
        console.fail(f"Interrupted; {', '.join(notes)}.")
        return EXIT_SIGNAL + signal.SIGINT

    from trfcli_pipeline.errors import ArgumentError, TrfError, is_out_of_memory
    from trfcli_pipeline.pipeline.user_code import explain_code

    # Where an exception of the user's code comes from says more than what the library made of it.
    error = explain_code(error) or error
    match error:
        case ArgumentError():
            console.fail(error.message, hint=error.hint)
            return EXIT_USAGE
        case TrfError():
            console.fail(error.message, hint=error.hint)
        case OSError() if error.strerror is not None:
            place = "" if error.filename is None else f"{error.filename}: "
            console.fail(f"{place}{error.strerror}")
        # Of `Path.resolve`, before Python 3.13.
        case RuntimeError() if "Symlink loop" in str(error):
            console.fail(str(error), hint="Remove the symbolic link")
        case _ if is_out_of_memory(error):
            console.fail("Not enough memory", hint=MEMORY_HINT)
        case _:
            text = textwrap.shorten(str(error), 300, placeholder=" ...")
            console.fail(
                f"{type(error).__name__}: {text}" if text else type(error).__name__,
                hint="This is a bug in trf. Run the command again with --debug for the traceback.",
            )
    return EXIT_ERROR
