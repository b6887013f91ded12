"""Every error that the library raises on purpose.

TrfError
├── DataError            a data file, or a record in it, can't be used
├── EncoderError         a pretrained encoder can't be found, reached or served
├── PipelineError        a spaCy pipeline lacks something, or isn't one
├── OutputError          a result can't be written where it was asked for
├── DeviceError          a device isn't there, or has no memory for the work
└── SettingsError        settings aren't what can be asked for, or exclude each other
"""


class TrfError(Exception):
    """Root of the tree. The message is one line: what is wrong, and where.

    Attributes:
        message: That line, without a full stop's worth of advice.
        hint: What to do about it, or None. It is shown on a line of its own.
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message if hint is None else f"{message}\n{hint}")
        self.message = message
        self.hint = hint


class DataError(TrfError):
    """A data file, or a record in it, can't be used."""


class EncoderError(TrfError):
    """A pretrained encoder can't be found, reached or served."""


class PipelineError(TrfError):
    """A spaCy pipeline lacks something that the work needs, or isn't one."""


class OutputError(TrfError):
    """A result can't be written where it was asked for."""


class DeviceError(TrfError):
    """A device isn't there, or has no memory for the work."""


class SettingsError(TrfError):
    """Settings aren't what can be asked for, or exclude each other."""


def one_line(error: BaseException) -> str:
    """What went wrong in other code: the first line of the message, after the kind of error.

    Without the kind where messages are written for people, unless they are a single word.
    """
    first, *_ = [*str(error).strip().splitlines(), ""]
    if isinstance(error, OSError | ImportError | ValueError) and len(first.split()) > 1:
        return first
    return f"{type(error).__name__}: {first}" if first else type(error).__name__
