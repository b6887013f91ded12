"""The exceptions that the library raises.

TrfError
├── DataError            a data file or a record in it can't be used
├── EncoderError         a pretrained encoder can't be found, downloaded or loaded
├── PipelineError        a pipeline can't be loaded, or lacks what an operation needs
├── OutputError          a result can't be written to its destination
├── DeviceError          a device isn't available, or runs out of memory
├── NonFiniteError       numbers of a model are NaN or infinite
└── ArgumentError        an argument is invalid, or excludes another one
"""

import textwrap
from collections.abc import Iterator
from contextlib import contextmanager


class TrfError(Exception):
    """Base class of all exceptions of the library.

    Attributes:
        message: What is wrong, and where; one line.
        hint: What to do about it; None if there is nothing to suggest.
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        # It may quote anything, such as the name of a section in a config.
        self.message = " ".join(message.splitlines())
        super().__init__(self.message if hint is None else f"{self.message}\n{hint}")
        self.hint = hint


class DataError(TrfError):
    """Raised when a data file or a record in it can't be used."""


class EncoderError(TrfError):
    """Raised when a pretrained encoder can't be found, downloaded or loaded."""


class PipelineError(TrfError):
    """Raised when a pipeline can't be loaded, or lacks what an operation needs."""


class OutputError(TrfError):
    """Raised when a result can't be written to its destination."""


class DeviceError(TrfError):
    """Raised when a device isn't available, or runs out of memory."""


class NonFiniteError(TrfError):
    """Raised when numbers of a model are NaN or infinite."""


class ArgumentError(TrfError):
    """Raised when an argument is invalid, or excludes another one."""


@contextmanager
def needs_extra(need: str, extra: str, error: type[TrfError]) -> Iterator[None]:
    """Turn the ImportError for a package that an extra installs into an error that names the extra.

    Args:
        need: What needs which package: "--lora needs peft".
        extra: The extra of this package.
        error: The class of the error.
    """
    try:
        yield
    except ImportError as cause:
        hint = f'pip install "trfcli[{extra}]"'
        raise error(f"{need}, which isn't installed", hint=hint) from cause


_LONGEST = 300


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory ran out."""
    if isinstance(error, MemoryError):
        return True
    # torch.OutOfMemoryError of accelerators, or the plain RuntimeError of a CPU or MPS.
    text = str(error).lower()
    is_torch = isinstance(error, RuntimeError)
    return is_torch and ("out of memory" in text or "can't allocate memory" in text)


def one_line(error: BaseException) -> str:
    """Summarize an exception of other code: the first line of its message, after its class.

    The class is left out if the message is written for people, with more than one word: that of
    Python's OSError, ImportError and ValueError, and of exceptions of libraries. A line that ends
    with a colon is only the headline of the next one.
    """
    if isinstance(error, SystemError) and error.__cause__ is not None:
        error = error.__cause__  # of C code that went on after it
    first, second, *_ = [*str(error).strip().splitlines(), "", ""]
    if first.endswith(":"):
        first = f"{first} {second.strip()}"
    first = textwrap.shorten(first, _LONGEST, placeholder=" ...")
    is_library = type(error).__module__ != "builtins"
    is_plain = is_library or isinstance(error, OSError | ImportError | ValueError)
    is_plain = is_plain or type(error) is Exception
    if is_plain and len(first.split()) > 1:
        return first
    return f"{type(error).__name__}: {first}" if first else type(error).__name__
