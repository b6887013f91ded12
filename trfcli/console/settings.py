"""The settings of one run of `trf`, and those of the libraries it uses."""

import os
import sys
import warnings
from dataclasses import dataclass

QUIET_ENVIRONMENT = {
    "TRANSFORMERS_VERBOSITY": "error",
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
    "HF_HUB_VERBOSITY": "error",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
}
NOISY_LIBRARIES = r"(torch|transformers|tokenizers|huggingface_hub)(\.|$)"

_NOTHING_CHANGED = "nothing was changed"


@dataclass
class Settings:
    """What the user asked for, and what Ctrl-C would leave on disk."""

    quiet: bool = False
    debug: bool = False
    if_interrupted: str = _NOTHING_CHANGED


settings = Settings()


def configure(*, quiet: bool, debug: bool) -> None:
    """Set up a run. A second run in the same process inherits nothing from the first."""
    settings.quiet = quiet
    settings.debug = debug
    settings.if_interrupted = _NOTHING_CHANGED


def if_interrupted(state: str) -> None:
    """Set what Ctrl-C reports from here on, such as "./model is unchanged"."""
    settings.if_interrupted = state


def silence_libraries(*, forks: bool = False) -> None:
    """Hide warnings and progress bars of other libraries. Call this before importing them.

    Variables that are already set and `python -W` take precedence.

    Args:
        forks: Whether the command starts worker processes. If so, tokenizers must not use threads,
            or every worker prints a warning. Without workers, its threads are worth keeping.
    """
    for name, value in QUIET_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if forks:
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if not sys.warnoptions:
        warnings.filterwarnings("ignore", module=NOISY_LIBRARIES)
