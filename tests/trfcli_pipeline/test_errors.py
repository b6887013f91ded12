import inspect
import re
from zipfile import BadZipFile

import pytest
import torch

from trfcli_pipeline import errors
from trfcli_pipeline.errors import TrfError, is_out_of_memory, one_line

CLASSES = {
    name: each
    for name, each in inspect.getmembers(errors, inspect.isclass)
    if each.__module__ == errors.__name__
}


def words(text: str) -> set[str]:
    return set(re.findall(r"[\w']+", text.lower()))


def test_the_docstring_shows_the_exception_tree() -> None:
    tree = errors.__doc__.partition("\n\n")[2].splitlines()
    assert tree[0] == "TrfError"
    assert TrfError.__bases__ == (Exception,)
    branches = [re.match(r"[├└]── (\w+) +(.+)$", line).groups() for line in tree[1:]]
    assert sorted(name for name, _ in branches) == sorted(CLASSES.keys() - {"TrfError"})
    for name, meaning in branches:
        assert CLASSES[name].__bases__ == (TrfError,)
        # The docstring of the class may be longer.
        assert words(meaning) <= words(CLASSES[name].__doc__)


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_every_error_is_a_trf_error_with_a_message_and_a_hint(name: str) -> None:
    kind = CLASSES[name]
    assert issubclass(kind, TrfError)
    error = kind("train.csv: no column text", hint="Use --text-column")
    assert error.message == "train.csv: no column text"
    assert error.hint == "Use --text-column"
    assert str(error) == "train.csv: no column text\nUse --text-column"


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_the_hint_is_optional(name: str) -> None:
    error = CLASSES[name]("train.csv: is empty")
    assert error.hint is None
    assert str(error) == "train.csv: is empty"


def test_the_hint_is_given_by_name() -> None:
    with pytest.raises(TypeError, match="positional"):
        TrfError("message", "hint")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError("\nNo such file.\nMore."), "No such file."),
        (ZeroDivisionError("by zero"), "ZeroDivisionError: by zero"),
        (KeyError("vocab"), "KeyError: 'vocab'"),
        (BadZipFile("File is not a zip file"), "File is not a zip file"),
        (BadZipFile("central"), "BadZipFile: central"),
        (ValueError(), "ValueError"),
    ],
)
def test_one_line(error: Exception, line: str) -> None:
    assert one_line(error) == line


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 17.00 GB)"), True),
        (MemoryError(), True),
        (RuntimeError("The size of tensor a (3) must match the size of tensor b (4)"), False),
        (ValueError("memory"), False),
    ],
)
def test_out_of_memory_errors_are_recognized(error: Exception, expected: bool) -> None:
    assert is_out_of_memory(error) == expected


def test_a_real_out_of_memory_error_is_recognized() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**55)
    assert is_out_of_memory(caught.value)


def test_message_is_one_line_whatever_it_quotes() -> None:
    assert TrfError("a.cfg: no section \r\n[b\u2028c]").message == "a.cfg: no section  [b c]"


def test_summary_is_short_and_includes_what_a_headline_announces() -> None:
    assert one_line(ValueError("Problem with field 'a':\n    expected int")) == (
        "Problem with field 'a': expected int"
    )
    assert len(one_line(ValueError("x " * 1000))) <= 300
    assert one_line(Exception("Model missing in file")) == "Model missing in file"


def test_summary_names_the_cause_of_an_error_in_c_code() -> None:
    error = SystemError("returned a result with an exception set")
    error.__cause__ = OverflowError("int too big to convert")
    assert one_line(error) == "OverflowError: int too big to convert"
