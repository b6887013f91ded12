import pickle
import sys
from pathlib import Path

import pytest
import spacy
from own_code import FAILING_LINE, forget_code, write_code
from spacy.language import Language

from trfcli_pipeline.errors import PipelineError
from trfcli_pipeline.pipeline import user_code
from trfcli_pipeline.pipeline.user_code import CodeFiles, code_hashes, explain_code, import_code


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, in a process that has imported nothing yet."""
    forget_code(monkeypatch)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_functions_are_registered(folder: Path) -> None:
    import_code(write_code(Path("functions.py")))
    assert Language.has_factory("loudness")
    nlp = spacy.blank("xx")
    nlp.add_pipe("loudness")
    assert nlp("What!").cats == {"LOUD": 1.0}
    assert [*code_hashes()] == ["functions.py"]


def test_a_file_is_imported_once(folder: Path) -> None:
    path = write_code(Path("log.py"), "with open('log.txt', 'a') as file:\n    file.write('x')\n")
    for each in (path, folder / "log.py"):
        import_code(each)
    assert Path("log.txt").read_text() == "x"


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("import os\n\nprint(absent)\n", "line 3: NameError: name 'absent' is not defined"),
        ("x = 1\ndef f(:\n    pass\n", "line 2: invalid syntax"),
        ("def f():\n    raise ValueError('too much here')\n\nf()\n", "line 2: too much here"),
        ("import sys\nsys.exit(3)\n", "line 2: SystemExit: 3"),
        ("import json\njson.loads('{')\n", "line 2: Expecting property name"),
    ],
)
def test_an_error_names_file_and_line(source: str, problem: str) -> None:
    path = write_code(Path("functions.py"), source)
    for _ in range(2):
        with pytest.raises(PipelineError) as caught:
            import_code(path)
        assert caught.value.message.startswith(f"functions.py, {problem}")
        assert caught.value.hint == "Correct the file"
    assert code_hashes() == {}


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("absent.py", r"absent\.py: no such file"),
        (".", r"\.: a directory, not a file"),
        ("functions.txt", r"functions.txt: not a Python file \(\.py\)"),
    ],
)
def test_a_path_that_is_no_python_file_is_an_error(name: str, problem: str) -> None:
    write_code(Path("functions.txt"))
    with pytest.raises(PipelineError, match=problem):
        import_code(Path(name))


def test_modules_of_other_libraries_stay() -> None:
    write_code(Path("pickle.py"), "")
    import_code(Path("pickle.py"))
    assert sys.modules["pickle"] is pickle


def test_an_error_of_a_function_names_file_and_line() -> None:
    import_code(write_code(Path("functions.py")))
    nlp = spacy.blank("xx")
    nlp.add_pipe("loudness")
    try:
        nlp("")
    except IndexError as error:
        problem = explain_code(error)
        outer = PipelineError("it failed")
        outer.__cause__ = error
    assert problem is not None
    assert problem.message.startswith(f"functions.py, line {FAILING_LINE}: ")
    # Also if the library has made an error of it.
    assert str(explain_code(outer)) == str(problem)
    assert explain_code(PipelineError("of the library")) is None
    assert explain_code(MemoryError()) is None


def test_another_process_imports_the_file_before_it_is_needed() -> None:
    import_code(write_code(Path("functions.py")))
    content = pickle.dumps((CodeFiles(), sys.modules["functions"].square))
    user_code._imported.clear()
    del sys.modules["functions"]
    _, square = pickle.loads(content)
    assert square(7) == 49
    assert [*code_hashes()] == ["functions.py"]
