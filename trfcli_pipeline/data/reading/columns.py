"""Which columns of a table, or keys of records, have the text and the labels."""

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial

from trfcli_pipeline.data.column_names import (
    LABEL_NAMES,
    LABELS,
    TEXTS,
    TITLES,
    first_of,
    normalized,
    pair_of,
    title_and_body,
)
from trfcli_pipeline.data.formats.rows import LABEL_KEYS, RawFile, quoted, shortened
from trfcli_pipeline.data.reading.column_values import (
    Row,
    is_binary,
    is_marked,
    is_numeric,
    is_text,
    may_be_label,
    mean_length,
    values_of,
)
from trfcli_pipeline.data.wording import enumeration
from trfcli_pipeline.errors import DataError

PAIR_MARK = "|||"
PAIR_SEPARATOR = f" {PAIR_MARK} "
# A column is the text if its values are at least so many times as long as those of the others.
_LONGER = 2
_SUFFIXES = ("_label", "_class", "_category", "_sentiment", "_intent", "_topic")
# So many columns of 0 and 1 side by side are labels, even if other columns could be the label.
_MANY = 5
_BODY_SUFFIXES = ("_body", "_content", "_description", "_text")
_EXAMPLE = 24


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a data set that are read.

    Attributes:
        text: Columns with the text. Several are joined.
        joiner: What they are joined with.
        labels: Columns with the labels; none if there are none, or if labels aren't read.
        one_hot: Whether each of these columns is a label, with 0 or 1 in its cells.
        chosen: Whether the user chose the columns of labels.
    """

    text: tuple[str, ...] = ("text",)
    joiner: str = "\n\n"
    labels: tuple[str, ...] = ()
    one_hot: bool = False
    chosen: bool = False


def choose_columns(rows: Sequence[Row], file: RawFile) -> Columns | None:
    """Choose the columns of text and labels by name or, failing that, by content.

    Args:
        rows: The first rows.
        file: The file they are from, which gets the remarks.

    Returns:
        The columns; None if none can be the text, or the labels if these are read.

    Raises:
        DataError: A column that the user names isn't there, or several could be meant.
    """
    names = file.columns or list(dict.fromkeys(key for row in rows for key in row))
    options = file.options
    remarks = []
    joiner = "\n\n"
    if options.text_column:
        text = _named(options.text_column, names, file, "--text-column")
    elif "text" in names:
        text = ("text",)
    else:
        found = _guess_text(names, rows, file)
        if found is None:
            return None
        text, joiner = found
        pair = f', joined by "{PAIR_MARK}"' if joiner == PAIR_SEPARATOR else ""
        remarks.append(f"the text is in {_listed(text, ' and ')}{pair} (--text-column)")
    if not file.labeled:
        if remarks:
            file.remarks.guess(remarks[0])
        return Columns(text, joiner)
    others = [name for name in names if name not in text]
    one_hot, chosen = False, bool(options.label_column)
    if chosen:
        labels = _named(options.label_column, names, file, "--label-column")
        if same := set(labels) & set(text):
            raise DataError(
                f"{file.name}: {quoted(same.pop())} can't be both the text and the label",
                hint="Name the column with the text as well: --text-column",
            )
        one_hot = len(labels) > 1 and all(is_marked(name, rows) for name in labels)
    elif exact := [key for key in LABEL_KEYS if key in others]:
        labels = tuple(exact)
        companion = first_of(LABEL_NAMES, others)
        if exact == ["label"] and companion is not None and is_numeric("label", rows):
            labels = (companion,)
            remarks.append(f"the names of labels are in {quoted(companion)} (--label-column)")
    else:
        labels, one_hot = _guess_labels(others, rows, file)
        if not labels:
            return None
        verb = "is" if len(labels) == 1 else "are"
        what = "the labels are the columns" if one_hot else f"the label {verb} in"
        remarks.append(f"{what} {_listed(labels, ', ')} (--label-column)")
    if remarks:
        file.remarks.guess("; ".join(remarks))
    return Columns(text, joiner, labels, one_hot, chosen)


def unclear(
    file: RawFile, rows: Sequence[Row], wanted: str, candidates: Sequence[str]
) -> DataError:
    """The error for columns that can't be told apart, with an example of each.

    Args:
        file: The file.
        rows: Its first rows.
        wanted: "text" or "label".
        candidates: Columns that it may be, the likeliest first.
    """
    names = file.columns or list(dict.fromkeys(key for row in rows for key in row))
    if len(names) == 1 and wanted == "label":
        return DataError(
            f"{file.name}: has only one column, {quoted(names[0])}, and no labels",
            hint="Add a column with the labels, or name what separates the columns: --delimiter",
        )
    examples = []
    for name in names[:12]:
        values = [str(row[name]) for row in rows if name in row and str(row[name]).strip()]
        example = " ".join(values[0].split()) if values else ""
        example = example if len(example) <= _EXAMPLE else f"{example[: _EXAMPLE - 1]}…"
        examples.append(f"{quoted(name)} ({example})")
    more = f" and {len(names) - 12} more" if len(names) > 12 else ""
    option = f"--{wanted}-column"
    by_length = sorted(names, key=partial(mean_length, rows=rows))
    name = next(iter(candidates), by_length[0 if wanted == "label" else -1])
    return DataError(
        f"{file.name}: which column has the {wanted}{'s' if wanted == 'label' else ''}? "
        f"Its columns: {', '.join(examples)}{more}",
        hint=f"Name it, for example: {option} {_shell(name, names)}",
    )


def _named(
    wanted: Iterable[str], names: Sequence[str], file: RawFile, option: str
) -> tuple[str, ...]:
    found = []
    by_normal = {normalized(name): name for name in reversed(names)}
    for name in wanted:
        if name in names:
            found.append(name)
        elif normalized(name) in by_normal:
            found.append(by_normal[normalized(name)])
        elif file.columns is not None and name.isdigit() and 0 < int(name) <= len(names):
            found.append(names[int(name) - 1])
        elif "," in name and all(part.strip() in names for part in name.split(",")):
            found += [part.strip() for part in name.split(",")]
        else:
            close = get_close_matches(name, names, n=1)
            meant = f"Did you mean {quoted(close[0])}? " if close else ""
            what = "column" if file.columns is not None else "key"
            raise DataError(
                f"{file.name}: has no {what} {quoted(name)} ({option})",
                hint=f"{meant}Its {what}s: {enumeration([quoted(each) for each in names])}",
            )
    return tuple(dict.fromkeys(found))


def _guess_text(
    names: Sequence[str], rows: Sequence[Row], file: RawFile
) -> tuple[tuple[str, ...], str] | None:
    strings = [name for name in names if is_text(name, rows)]
    pair = pair_of(strings)
    if pair is not None:
        return pair, PAIR_SEPARATOR
    both = title_and_body(strings)
    if both is not None:
        return both, "\n\n"
    known = first_of(TEXTS, strings)
    if known is not None and normalized(known) in TITLES:
        bodies = [
            name
            for name in strings
            if normalized(name).endswith(_BODY_SUFFIXES)
            and mean_length(name, rows) > mean_length(known, rows)
        ]
        if len(bodies) == 1:
            return (known, bodies[0]), "\n\n"
    if known is not None:
        return (known,), ""
    ending = [name for name in strings if normalized(name).endswith("_text")]
    if len(ending) == 1:
        return (ending[0],), ""
    lengths = sorted(((mean_length(name, rows), name) for name in strings), reverse=True)
    if not lengths:
        return None
    (longest, name), *others = lengths
    if not others or longest > _LONGER * others[0][0]:
        is_prose = any(" " in str(row.get(name, "")).strip() for row in rows)
        return ((name,), "") if is_prose else None
    if longest and file.columns is not None:
        raise unclear(file, rows, "text", [name])
    return None


def _guess_labels(
    names: Sequence[str], rows: Sequence[Row], file: RawFile
) -> tuple[tuple[str, ...], bool]:
    exact = [name for name in names if normalized(name) in LABELS]
    others = [name for name in names if name not in exact]
    ending = [name for name in others if normalized(name).endswith(_SUFFIXES)]
    known = [name for name in [*exact, *ending] if may_be_label(name, rows)] or exact
    if len(known) > 1:
        # The one that only names the classes of another.
        companion = first_of(LABEL_NAMES, known)
        if companion is not None:
            known = [companion]
    if len(known) == 1:
        return (known[0],), False
    if len(known) > 1:
        raise unclear(file, rows, "label", known)
    candidates = [name for name in names if may_be_label(name, rows)]
    binary = [name for name in names if is_binary(name, rows)]
    binary = binary or [name for name in names if is_marked(name, rows)]
    if _are_one_hot(binary, names, candidates):
        return tuple(binary), True
    if len(candidates) == 1:
        return (candidates[0],), False
    if candidates or file.columns is not None:
        constant = [name for name in names if len(set(map(str, values_of(name, rows)))) == 1]
        raise unclear(file, rows, "label", candidates or constant)
    return (), False


def _are_one_hot(binary: Sequence[str], names: Sequence[str], candidates: Sequence[str]) -> bool:
    """Whether columns of 0 and 1 are labels: they are all there is, or all at one end."""
    if len(binary) < 2 or set(binary).isdisjoint(candidates):
        return False
    n = len(binary)
    are_together = n >= _MANY and list(binary) in (list(names[:n]), list(names[-n:]))
    return are_together or set(candidates) <= set(binary)


def _listed(names: Sequence[str], separator: str) -> str:
    if len(names) > 5:
        return enumeration([quoted(name) for name in names])
    return separator.join(quoted(name) for name in names)


def _shell(name: str, names: Sequence[str]) -> str:
    """What to type for a column: its name or, if that is too long, its number."""
    return shlex.quote(name) if shortened(name) == name else str(names.index(name) + 1)
