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


class TrfError(Exception):
    """Base class of all exceptions of the library.

    Attributes:
        message: What is wrong, and where; one line.
        hint: What to do about it; None if there is nothing to suggest.
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message if hint is None else f"{message}\n{hint}")
        self.message = message
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


def one_line(error: BaseException) -> str:
    """Summarize an exception of other code: the first line of its message, after its class.

    The class is left out if the message is written for people, with more than one word.
    """
    first, *_ = [*str(error).strip().splitlines(), ""]
    if isinstance(error, OSError | ImportError | ValueError) and len(first.split()) > 1:
        return first
    return f"{type(error).__name__}: {first}" if first else type(error).__name__
