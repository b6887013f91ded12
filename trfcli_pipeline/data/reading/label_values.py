"""What the values in a column of labels mean: names, lists, class numbers, one-hot vectors."""

import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from trfcli_pipeline.data.formats.rows import BadRowError, RawFile, quoted, shortened
from trfcli_pipeline.data.reading.cell_values import is_missing, kind_of, parsed
from trfcli_pipeline.data.reading.class_names import read_class_names
from trfcli_pipeline.data.wording import enumeration
from trfcli_pipeline.errors import DataError

_SEPARATORS = "|;#,"
# The share of combined cells that must have a part in common with another cell.
_RECURRING = 0.8
_LONGEST_PART = 60
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?")
_CANONICAL = re.compile(r"-?(0|[1-9]\d*)(\.0*)?")
_DECIMAL_COMMA = re.compile(r"-?\d+,\d{1,3}")
_MINUS_ONE = ("-1", "-1.0")
_BOOLEANS = {"true", "false"}
# Numbers are scores rather than labels if there are more different ones than this, and they are
# fractions or hardly ever occur twice.
_FEW_NUMBERS = 10
# -1 isn't a label beside 0, 1 and this. Beside 0 and 1 it may be a sentiment.
_FEWEST_CLASSES = 2
# What some tools write if there is no label, and what it is the counterpart of if it is a label.
_BLANKS = {"-": "+", "--": "++", ".": ""}
# Labels that may be meant as missing values.
_DOUBTFUL = ("NA", "N/A", "n/a")
_LABEL = 'A label is a name or a number, such as "SPAM"; several are a list'
_SCORES = 'An object of labels has the form {"SPAM": 1, "HAM": 0}'


class LabelValues:
    """Reads the values of a column of labels.

    What the column as a whole looks like decides what its values mean: whether "2" is the number of
    a class, and whether "A, B" is one label or two.

    Args:
        column: Name of the column.
        sample: Its values in the first rows.
        file: The file it is in, which gets the remarks.
        chosen: Whether the user chose the column.

    Raises:
        DataError: The values are scores, not labels.
    """

    def __init__(self, column: str, sample: Sequence[Any], file: RawFile, *, chosen: bool) -> None:
        self.column = column
        self.separator = ""
        self.is_numeric = False
        self.is_boolean = False
        self.is_one_hot = False
        self._key = quoted(column)
        self._is_minus_one_missing = False
        words = {value.strip() for value in sample if isinstance(value, str)}
        self._blanks = {each for each, other in _BLANKS.items() if other not in words - {""}}
        values = [parsed(value) for value in sample if not self.is_missing(value)]
        lists = [value for value in values if isinstance(value, list)]
        if lists:
            self._inspect_lists(lists, file)
        strings = [value for value in values if isinstance(value, str)]
        if strings and len(strings) == len(values):
            self._inspect_strings(strings, file)
        scalars = [
            each for value in values for each in (value if isinstance(value, list) else [value])
        ]
        if self.separator:
            scalars = [part for each in scalars for part in self._split(each)]
        self._inspect_scalars(scalars, file, chosen=chosen)
        self.names = self._class_names(file) if self.is_numeric or self.is_one_hot else {}
        if self.is_numeric and scalars and not self.is_one_hot:
            self._inspect_numbers(sorted({float(each) for each in scalars}), file)

    def is_missing(self, value: Any) -> bool:
        """Whether a cell says that there is no label."""
        if is_missing(value):
            return True
        if isinstance(value, str):
            value = value.strip()
            return value in self._blanks or (self._is_minus_one_missing and value in _MINUS_ONE)
        return self._is_minus_one_missing and isinstance(value, int | float) and value == -1

    def cats(self, value: Any) -> dict[str, float] | None:
        """The values of the labels that a cell gives; None if it is missing.

        Raises:
            BadRowError: It isn't a label.
        """
        if self.is_missing(value):
            return None
        value = parsed(value)
        match value:
            case {"choices": list(choices)} | {"labels": list(choices)}:
                return self._all(choices)
            case [{"user_id": _, "value": given}, *_]:
                # The answers of annotators, as Argilla 1 writes them.
                return self.cats(given)
            case {"label": _, **rest} if not rest.keys() - {"value", "score"}:
                return self._all([value])
            case {"name": str(name)} | {"value": str(name)} | {"displayName": str(name)}:
                return self._all([name])
            case dict():
                return {
                    self._checked(name): self._score(name, score) for name, score in value.items()
                }
            case list() if self.is_one_hot and len(value) and all(map(_is_bit, value)):
                return {self.names.get(at, str(at)): float(bit) for at, bit in enumerate(value)}
            case list():
                return self._all(value)
            case str() if self.separator:
                return self._all(self._split(value))
        return self._all([value])

    def _all(self, values: Sequence[Any]) -> dict[str, float]:
        found: dict[str, float] = {}
        for value in values:
            match value:
                case list():
                    found |= self._all(value)
                case {"label": label, **rest}:
                    score = rest.get("value", rest.get("score", 1.0))
                    found[self._name(label)] = self._score(str(label), score)
                case _:
                    found[self._name(value)] = 1.0
        return found

    def _name(self, value: Any) -> str:
        if isinstance(value, str):
            text = self._checked(value).strip()
            if self.is_boolean:
                return text.lower()
            if not self.is_numeric or _CANONICAL.fullmatch(text) is None:
                return text
            value = float(text)
        if isinstance(value, bool) and not self.names:
            return json.dumps(value)
        if isinstance(value, int | float):
            if not math.isfinite(value):
                raise BadRowError(f"{value} in {self._key} isn't a label", advice=_LABEL)
            number = int(value)
            return self.names.get(number, str(number)) if number == value else str(value)
        raise BadRowError(f"{kind_of(value)} in {self._key} isn't a label", advice=_LABEL)

    def _checked(self, name: str) -> str:
        if not name.strip():
            raise BadRowError(f"a label in {self._key} has an empty name", advice=_LABEL)
        return name

    def _score(self, label: str, value: Any) -> float:
        """Check the value of a label in an object of labels."""
        number = isinstance(value, int | float)
        # NaN fails both comparisons.
        if not number or not 0 <= value <= 1:
            found = shortened(str(value)) if number else kind_of(value)
            problem = f"the value of {quoted(label)} in {self._key} is {found}"
            raise BadRowError(f"{problem}, not a number from 0 to 1", advice=_SCORES)
        return float(value)

    def _split(self, value: Any) -> list[Any]:
        if not isinstance(value, str):
            return [value]
        return [part.strip() for part in value.split(self.separator) if part.strip()]

    def _inspect_lists(self, lists: Sequence[list[Any]], file: RawFile) -> None:
        lengths = {len(each) for each in lists}
        length = max(lengths)
        self.is_one_hot = (
            lengths == {length}
            and length > 1
            and all(map(_is_bit, (bit for each in lists for bit in each)))
        )
        if self.is_one_hot:
            file.remarks.guess(
                f"{self._key} has {length} zeros and ones for each text: one for each label"
            )
        elif any(map(_is_span, (each for inner in lists for each in inner))):
            raise DataError(
                f"{file.name}: {self._key} has labels of words or spans, not of texts",
                hint="Name a column with the labels of texts: --label-column NAME",
            )
        elif any(isinstance(each, list) for inner in lists for each in inner):
            file.remarks.guess(f"{self._key} has lists in lists, which are read as one list")

    def _inspect_strings(self, values: Sequence[str], file: RawFile) -> None:
        given = file.options.label_separator
        if given is not None:
            self.separator = given
            return
        if self.column == "labels" and file.columns is not None and any("|" in v for v in values):
            # The documented form of several labels in a table.
            self.separator = "|"
            return
        found = guess_separator(values)
        if found:
            self.separator = found
            example = next(value for value in values if found in value)
            file.remarks.guess(
                f'{self._key} has several labels in a cell, separated by "{found}", such as '
                f"{quoted(example)} (--label-separator)"
            )

    def _inspect_scalars(self, scalars: Sequence[Any], file: RawFile, *, chosen: bool) -> None:
        if not scalars:
            return
        doubtful = next((each for each in _DOUBTFUL if each in scalars), None)
        if doubtful is not None and set(scalars) != {doubtful}:
            file.remarks.odd(
                f'{self._key} has "{doubtful}", which is read as a label. If it stands for no '
                "label, empty these cells and use --skip-unlabeled"
            )
        self.is_boolean = all(
            isinstance(each, str) and each.strip().lower() in _BOOLEANS for each in scalars
        )
        if not all(map(_is_number, scalars)):
            return
        numbers = [float(each) for each in scalars]
        self.is_numeric = all(
            not isinstance(each, str) or _CANONICAL.fullmatch(each.strip()) for each in scalars
        ) or any(not number.is_integer() for number in numbers)
        different = sorted(set(numbers))
        are_fractions = any(not number.is_integer() for number in numbers)
        rarely_twice = len(different) > len(numbers) / 2
        if len(different) > _FEW_NUMBERS and (are_fractions or rarely_twice):
            found = f"{len(different)} different numbers from {different[0]:g} to {different[-1]:g}"
            if not chosen:
                raise DataError(
                    f"{file.name}: {self._key} looks like scores, not labels ({found})",
                    hint=f"If each number is a label of its own: --label-column {self.column}",
                )
            file.remarks.odd(f"{self._key} looks like scores; each of {found} becomes a label")

    def _inspect_numbers(self, different: Sequence[float], file: RawFile) -> None:
        if different[0] == -1 and (self.names or different[-1] >= _FEWEST_CLASSES):
            self._is_minus_one_missing = True
            different = different[1:]
        if not self.names:
            found = [self._name(number) for number in different]
            file.remarks.guess(
                f"labels are numbers: {enumeration(found)} (a file labels.json can name them)"
            )

    def _class_names(self, file: RawFile) -> Mapping[int, str]:
        if self.column in file.label_names:
            return dict(enumerate(file.label_names[self.column]))
        for name in ("labels.json", "labels.txt"):
            path = None if file.directory is None else file.directory / name
            if path is not None and path.is_file():
                file.remarks.guess(f"the names of labels are from {path}")
                return read_class_names(path)
        return {}


def guess_separator(values: Sequence[str]) -> str:
    """Find what separates the labels in cells that have several; "" if a cell is one label.

    A cell has several if its parts occur in other cells as well, alone or combined with others.
    """
    different = {value.strip() for value in values}
    if all(map(_DECIMAL_COMMA.fullmatch, different)):
        return ""
    for separator in _SEPARATORS:
        cells = [{part.strip() for part in each.split(separator)} - {""} for each in different]
        combined = [cell for cell in cells if len(cell) > 1]
        if not combined or any(len(part) > _LONGEST_PART for cell in combined for part in cell):
            continue
        # The comma may be a part of names, if none of them occurs alone.
        parts = set().union(*combined)
        are_names = separator == "," and all(", " in each for each in different if "," in each)
        if are_names and not any(len(cell) == 1 and cell <= parts for cell in cells):
            continue
        times = Counter(part for cell in cells for part in cell)
        recurring = sum(any(times[part] > 1 for part in cell) for cell in combined)
        if recurring >= _RECURRING * len(combined):
            return separator
    return ""


def _is_bit(value: Any) -> bool:
    return isinstance(value, int | float) and value in (0, 1)


def _is_number(value: Any) -> bool:
    if isinstance(value, str):
        return _NUMBER.fullmatch(value.strip()) is not None
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_span(value: Any) -> bool:
    """Whether a value is a start, an end and a label."""
    match value:
        case [int(), int(), str()] | {"start": int(), "end": int()}:
            return True
        case {"start_offset": int(), "end_offset": int()}:
            return True
    return False
