"""Read data sets: from what a user calls one to records.

A file may be a table, a list of JSON values, or the export of an annotation tool. What it says
about itself is used, and the rest is guessed from its first rows: encoding, delimiter, the columns
of texts and labels, and what the values of labels mean. Each guess is logged, with the option that
changes it.
"""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from itertools import chain, pairwise
from pathlib import PurePath
from typing import Any

from trfcli_pipeline.data.dataset import DataSource, as_dataset
from trfcli_pipeline.data.formats import FORMATS, suffix_of
from trfcli_pipeline.data.formats.remarks import Remarks
from trfcli_pipeline.data.formats.rows import (
    LABEL_KEYS,
    BadRowError,
    Format,
    RawFile,
    Rows,
    bad_utf8,
    read_whole,
)
from trfcli_pipeline.data.reading.columns import PAIR_SEPARATOR, Columns, choose_columns, unclear
from trfcli_pipeline.data.reading.exports import (
    LeftOutError,
    annotators_disagree,
    flatten,
    without_labels,
)
from trfcli_pipeline.data.reading.opening import open_part
from trfcli_pipeline.data.reading.rows import LABEL_FORMS, SHAPE, SKIP, RowReader, as_fields
from trfcli_pipeline.data.reading.sources import Part, find_parts
from trfcli_pipeline.data.reading.tracking import track_reading
from trfcli_pipeline.data.records import BadRecord, Record
from trfcli_pipeline.data.wording import enumeration
from trfcli_pipeline.errors import DataError

# Rows by which columns are chosen, and characters that they may have in total.
_SAMPLE_ROWS, _SAMPLE_CHARACTERS = 1_000, 2**24
# From this share of repeated texts on, a file of so many rows has one for each text and label.
_REPEATED, _LEAST_ROWS = 0.3, 10

Fields = tuple[int, dict[str, Any] | BadRowError]


def read_records(source: DataSource, *, labeled: bool) -> list[Record]:
    """Read all records of a data set, in order.

    Args:
        source: The data set, or the path of a file in any format; "-" is JSONL on stdin.
        labeled: Whether every record must have labels. If not, labels aren't read: they stay in
            `Record.row` with the other columns.

    Raises:
        DataError: The files can't be read, have no records, or have bad records. The message then
            describes the first bad record, and the hint counts them all.
    """
    return list(track_reading(Reading(source, labeled=labeled), source))


def check_beginning(source: DataSource, *, labeled: bool) -> None:
    """Check that a data set is there, and that it begins as records do.

    This takes no time, and finds what is wrong with all records, such as a missing column. Not
    with stdin, which can be read only once.

    Args:
        labeled: Whether records must have labels.

    Raises:
        DataError: There is no such file, its format is unknown, or its first record is bad.
    """
    if not as_dataset(source).is_stdin:
        next(iter(Reading(source, labeled=labeled)), None)


class Reading(Iterable[Record]):
    """A data set that is read record by record, without loading all of it into memory.

    A missing file or unknown format is an error at once. After a bad record nothing more is
    yielded; the rest is only read to count the bad records. It can be read more than once, unless
    it is stdin; remarks are logged once. See `read_records` for errors.

    Args:
        source: See `read_records`.
        labeled: See `read_records`.
        silent: Whether to log no remarks, because the file isn't one that the user wants to read.

    Attributes:
        columns: The columns of the tables, in order; None if the records have keys of their own.
            Known after the first record.
        has_pairs: Whether texts are pairs, joined by `PAIR_MARK`. Known then as well.
    """

    def __init__(self, source: DataSource, *, labeled: bool, silent: bool = False) -> None:
        data = as_dataset(source)
        self.labeled = labeled
        self.silent = silent
        self.options = data.options
        self.columns: list[str] | None = None
        self.has_pairs = False
        self._parts = list(find_parts(data))
        self._remarks: dict[str, Remarks] = {}
        for part in self._parts:
            if suffix_of(part.path) not in FORMATS and part.label is None:
                with self._open(part):
                    pass

    @property
    def name(self) -> str:
        """Name of the first file, for messages."""
        return self._parts[0].name

    def __iter__(self) -> Iterator[Record]:
        number, bad = 0, list[BadRecord]()
        for record in self.everything():
            number += 1
            if isinstance(record, BadRecord):
                bad.append(record)
            elif not bad:
                yield record
        if len(bad) == number > 1 and all(record.lacks == "label" for record in bad):
            raise _without_labels(bad)
        if bad:
            first = bad[0]
            place = f", {first.unit} {first.line}" if first.unit else ""
            raise DataError(f"{first.file}{place}: {first.reason}", hint=_hint(bad, number))
        if number == 0 and self.options.skip_unlabeled:
            raise DataError(
                f"{self.name}: no record has a text and a label",
                hint="Name other columns with --text-column and --label-column",
            )
        if number == 0:
            raise DataError(f"{self.name}: no records in the file", hint=f"A record is {SHAPE}")

    def everything(self) -> Iterator[Record | BadRecord]:
        """Yield the records in order, with a `BadRecord` in place of each bad one."""
        for part in self._parts:
            if part.label is None:
                yield from self._read(part)
            else:
                yield self._read_text(part, part.label)

    def _read(self, part: Part) -> Iterator[Record | BadRecord]:
        with self._open(part) as (file, format):
            rows = _fields(format.read(file), file)
            sample = _take_sample(rows, file)
            good = [row for _, row in sample if not isinstance(row, BadRowError)]
            columns = _columns(good, file)
            if file.columns is not None:
                self.columns = [*dict.fromkeys([*(self.columns or []), *file.columns])]
            self.has_pairs = columns.joiner == PAIR_SEPARATOR
            reader = RowReader(columns, good, file)
            records = _records(chain(sample, rows), reader)
            if self.labeled and _is_long([row for row in good if columns.text[0] in row], columns):
                file.remarks.guess("has a row for each text and label, which are joined")
                records = _joined(records)
            yield from records
            file.remarks.flush()

    def _read_text(self, part: Part, label: str) -> Record | BadRecord:
        """Read a file that is one text, in the directory of its label."""
        with self._open(part) as (file, _):
            data = read_whole(file.stream, part.name)
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            bad = bad_utf8(data[error.start])
            return BadRecord(1, bad.reason, bad.advice, file=part.name, unit="")
        if self.labeled:
            return Record(text, {label: 1.0}, 1, file=part.name, unit="")
        row = {"text": text, "label": label, "file": part.name}
        return Record(text, None, 1, row, file=part.name, unit="")

    def _open(self, part: Part) -> AbstractContextManager[tuple[RawFile, Format]]:
        # Texts in the directories of classes are remarked about together.
        name = part.name if part.label is None else str(PurePath(part.name).parent.parent)
        remarks = self._remarks.setdefault(name, Remarks(name, silent=self.silent))
        return open_part(part, labeled=self.labeled, options=self.options, remarks=remarks)


def _fields(rows: Rows, file: RawFile) -> Iterator[Fields]:
    remarks = file.remarks
    for place, row in rows:
        try:
            fields = as_fields(row)
        except BadRowError as error:
            yield place, error
            continue
        try:
            found: dict[str, Any] | BadRowError = flatten(fields)
        except LeftOutError as reason:
            if file.labeled:
                one, more = f"left out a record {reason}", f"records left out {reason}"
                remarks.count(file.place, place, one, more)
                continue
            found = without_labels(fields)
        except BadRowError as error:
            found = error if file.labeled else without_labels(fields)
        if file.labeled and found is not fields and annotators_disagree(fields):
            one = "annotators disagree, and the first one's labels are used"
            more = "records on which annotators disagree; the first one's labels are used"
            remarks.count(file.place, place, one, more)
        yield place, found


def _take_sample(rows: Iterator[Fields], file: RawFile) -> list[Fields]:
    """Take the first rows, by which the columns are chosen."""
    sample: list[Fields] = []
    characters = 0
    for place, row in rows:
        sample.append((place, row))
        if not isinstance(row, BadRowError):
            characters += sum(len(each) for each in row.values() if isinstance(each, str))
            # A program that writes to stdin may wait for an answer.
            if file.is_stdin and not file.labeled and "text" in row:
                break
        if len(sample) == _SAMPLE_ROWS or characters >= _SAMPLE_CHARACTERS:
            break
    return sample


def _columns(rows: list[dict[str, Any]], file: RawFile) -> Columns:
    found = choose_columns(rows, file) if rows else None
    if found is not None:
        return found
    if rows and file.columns is not None:
        raise unclear(file, rows, "text", ())
    # Each record will say what it lacks.
    return Columns(labels=LABEL_KEYS)


def _records(rows: Iterable[Fields], reader: RowReader) -> Iterator[Record | BadRecord]:
    file = reader.file
    skip = file.options.skip_unlabeled
    for place, row in rows:
        try:
            if isinstance(row, BadRowError):
                raise row
            record: Record | BadRecord = reader.record(row, place)
        except BadRowError as error:
            record = BadRecord(
                place,
                error.reason,
                error.advice,
                file=file.name,
                unit=file.place,
                lacks=error.lacks,
            )
        if skip and _is_unlabeled(record):
            file.remarks.count(
                file.place,
                place,
                "left out, because it has no text or no label",
                "records without a text or a label were left out",
            )
        else:
            yield record


def _is_unlabeled(record: Record | BadRecord) -> bool:
    if isinstance(record, BadRecord):
        return record.lacks is not None
    return not record.text.strip() or (record.cats is not None and not record.cats)


def _is_long(rows: list[dict[str, Any]], columns: Columns) -> bool:
    """Whether there is a row for each text and label, so that texts are repeated."""
    if len(columns.labels) != 1 or len(columns.text) != 1 or len(rows) < _LEAST_ROWS:
        return False
    [text], [label] = columns.text, columns.labels
    pairs = [
        (one.get(label), other.get(label))
        for one, other in pairwise(rows)
        if one[text] == other[text]
    ]
    different = sum(one != other for one, other in pairs)
    return label != "cats" and len(pairs) > _REPEATED * len(rows) and different == len(pairs)


def _joined(records: Iterable[Record | BadRecord]) -> Iterator[Record | BadRecord]:
    """Join the labels of consecutive records with the same text."""
    held: Record | None = None
    for record in records:
        if held is not None and isinstance(record, Record) and held.text == record.text:
            held = replace(held, cats={**(held.cats or {}), **(record.cats or {})})
            continue
        if held is not None:
            yield held
            held = None
        if isinstance(record, Record):
            held = record
        else:
            yield record
    if held is not None:
        yield held


def _without_labels(bad: list[BadRecord]) -> DataError:
    """The error for a data set without any label."""
    files = enumeration(list(dict.fromkeys(record.file for record in bad)))
    return DataError(
        f"{files}: none of the {len(bad):,} records has a label",
        hint=f"{bad[0].advice or LABEL_FORMS}, or in a column that --label-column names",
    )


def _hint(bad: list[BadRecord], number: int) -> str | None:
    first = bad[0]
    parts = [first.advice] if first.advice else []
    if first.lacks == "label":
        parts.append(SKIP)
    if len(bad) > 1:
        places = enumeration([str(each.line) for each in bad])
        unit = f"{first.unit}s" if first.unit else "files"
        parts.append(f"{len(bad):,} of {number:,} records are invalid: {unit} {places}")
    return ". ".join(parts) or None
