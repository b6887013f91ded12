"""Remarks about a data file: what was guessed, and what is odd in it."""

import logging

from trfcli_pipeline.data.wording import enumeration

# Applications decide where remarks go: guesses have the level INFO, oddities WARNING.
logger = logging.getLogger("trfcli_pipeline.data")


class Remarks:
    """Collects the remarks about a file, and logs each of them once.

    Args:
        name: Name of the file.
        silent: Whether to log nothing.
    """

    def __init__(self, name: str, *, silent: bool = False) -> None:
        self.name = name
        self.silent = silent
        self._made: set[str] = set()
        self._counted: dict[tuple[str, str, str], list[int]] = {}

    def guess(self, text: str) -> None:
        """Say what was guessed, because the user might want something else."""
        self._log(logging.INFO, f"{self.name}: {text}")

    def odd(self, text: str) -> None:
        """Say what is odd about the file as a whole."""
        self._log(logging.WARNING, f"{self.name}: {text}")

    def count(self, place: str, number: int, singular: str, plural: str) -> None:
        """Count something odd about a record; `flush` says where it is.

        Args:
            place: What a place in the file is called: "line", "row" ...
            number: Where the record is.
            singular: What is odd, if it is only one: "a row without values was left out".
            plural: The same for several: "rows without values were left out".
        """
        self._counted.setdefault((place, singular, plural), []).append(number)

    def flush(self) -> None:
        """Log what was counted, at the end of the file."""
        for (place, singular, plural), numbers in self._counted.items():
            if len(numbers) == 1:
                text = f"{self.name}, {place} {numbers[0]}: {singular}"
            else:
                places = enumeration([str(number) for number in numbers])
                text = f"{self.name}: {len(numbers):,} {plural} ({place}s {places})"
            self._log(logging.WARNING, text)
        self._counted.clear()

    def _log(self, level: int, text: str) -> None:
        if text not in self._made and not self.silent:
            self._made.add(text)
            logger.log(level, "%s", text)
