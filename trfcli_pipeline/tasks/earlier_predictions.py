"""Recognize the columns that an earlier run of `annotate` has added to a file."""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from trfcli_pipeline.tasks.output_columns import SUFFIX
from trfcli_pipeline.tasks.prediction_values import TOKEN_ATTRIBUTES, shortest

_SUFFIX = re.compile(rf"{SUFFIX}(_\d+)?$")
# A score that was rounded for people has fewer digits.
_DIGITS = 7
_SPAN_KEYS = {"start", "end", "label", "text"}
_TOKEN_KEYS = {"start", "end", "head", *TOKEN_ATTRIBUTES}
_HEADS = {("label", "score"), ("labels", "score"), ("cats", "labels")}
_OTHERS = {"ents", "spans", "tokens"}
# What comes after the labels and scores, but not on its own.
_FOLLOWING = {"score_", "unsure", "label_set", "novelty"}


class EarlierPredictions:
    """Finds the columns that an earlier run has written, by their names, order and values.

    They are next to each other, in the order of a run: `label` or `labels`, `score`, and columns
    `score_LABEL`, or `cats` and `labels`; then `unsure`, `label_set` and `novelty`; then `ents`,
    `spans` and `tokens`; all of them with or without the suffix "_predicted". Scores are the
    shortest decimal numbers of float32 values from 0 to 1, some with seven or more digits, and
    there is one wherever there is a label. Entities, spans and tokens have exactly the keys that a
    run writes.

    Everything else is the user's own: gold labels, labels that were corrected beside the scores of
    all labels, and scores that were rounded or come from elsewhere.
    """

    def __init__(self) -> None:
        # What to look at in rows with the same columns as the last one.
        self._columns: tuple[str, ...] = ()
        self._judges: list[tuple[str, Callable[[Any], bool | None]]] = []
        self._heads: list[tuple[str, str]] = []
        # Columns with a value that no run writes, and with one that hardly anything else does.
        self._foreign: set[str] = set()
        self._certain: set[str] = set()

    def add(self, row: Mapping[str, Any]) -> None:
        """Look at a row of the file."""
        columns = tuple(row)
        if columns != self._columns:
            self._columns = columns
            judges = [(column, _JUDGES.get(_meaning(column))) for column in columns]
            self._judges = [(column, judge) for column, judge in judges if judge]
            self._heads = [pair for pair in pairwise(columns) if _is_head(*pair)]
        for column, judge in self._judges:
            if column not in self._foreign:
                verdict = judge(row[column])
                if verdict is None:
                    self._foreign.add(column)
                elif verdict:
                    self._certain.add(column)
        for column, after in self._heads:
            if not _agree(row, column, after):
                self._foreign |= {column, after}

    def found(self, columns: Sequence[str]) -> list[str]:
        """Return those of the file's columns that an earlier run has written."""
        found: list[str] = []
        for index, column in enumerate(columns):
            before = columns[index - 1] if index else ""
            after = columns[index + 1] if index + 1 < len(columns) else ""
            meaning = _meaning(column)
            if (
                (_is_head(column, after) and self._is_ours({column, after}))
                or (_is_head(before, column) and before in found)
                or (meaning in _OTHERS and self._is_ours({column}))
                or (
                    meaning in _FOLLOWING | _OTHERS
                    and before in found
                    and column not in self._foreign
                )
            ):
                found.append(column)
        return found

    def _is_ours(self, columns: set[str]) -> bool:
        return self._foreign.isdisjoint(columns) and not self._certain.isdisjoint(columns)


def _meaning(column: str) -> str:
    """The name that a run gives to such a column, if it is one of a run."""
    name = _SUFFIX.sub("", column)
    return "score_" if name.startswith("score_") else name


def _is_head(column: str, after: str) -> bool:
    return (_meaning(column), _meaning(after)) in _HEADS


def _agree(row: Mapping[str, Any], column: str, after: str) -> bool:
    """Whether labels fit the scores next to them."""
    first, second = row[column], row[after]
    if isinstance(first, dict):
        return isinstance(second, list) and all(label in first for label in second)
    own_score = row.get(f"score_{first}", second)
    return _is_empty(first) == _is_empty(second) and own_score == second


def _is_empty(value: Any) -> bool:
    return value in (None, "", "[]", [])


# Each says of a value whether hardly anything but a run would have written it, or None if no run
# would have.


def _judge_score(value: Any) -> bool | None:
    if _is_empty(value):
        return False
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    if not 0 <= number <= 1 or shortest(number) != number:
        return None
    digits = repr(number).partition("e")[0].replace(".", "").strip("0")
    return len(digits) >= _DIGITS


def _judge_unsure(value: Any) -> bool | None:
    return False if str(value).lower() in ("true", "false", "") else None


def _judge_novelty(value: Any) -> bool | None:
    if _is_empty(value):
        return False
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return False if shortest(number) == number else None


def _judge_cats(value: Any) -> bool | None:
    return _judge_all(_judge_score, value.values()) if isinstance(value, dict) else None


def _judge_ents(value: Any) -> bool | None:
    return _judge_objects(_parsed(value), _SPAN_KEYS, {"kb_id"})


def _judge_spans(value: Any) -> bool | None:
    groups = _parsed(value)
    return _judge_all(_judge_ents, groups.values()) if isinstance(groups, dict) else None


def _judge_tokens(value: Any) -> bool | None:
    return _judge_objects(_parsed(value), {"start", "end"}, _TOKEN_KEYS)


def _judge_all(judge: Callable[[Any], bool | None], values: Iterable[Any]) -> bool | None:
    verdicts = [judge(value) for value in values]
    return None if None in verdicts else any(verdicts)


def _judge_objects(value: Any, needed: set[str], possible: set[str]) -> bool | None:
    if not isinstance(value, list):
        return None
    fit = all(
        isinstance(each, dict) and needed <= each.keys() <= needed | possible for each in value
    )
    return bool(value) if fit else None


def _parsed(value: Any) -> Any:
    """The value of a cell: lists and objects are JSON in tables."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        return None


_JUDGES: dict[str, Callable[[Any], bool | None]] = {
    "score": _judge_score,
    "score_": _judge_score,
    "unsure": _judge_unsure,
    "novelty": _judge_novelty,
    "cats": _judge_cats,
    "ents": _judge_ents,
    "spans": _judge_spans,
    "tokens": _judge_tokens,
}
