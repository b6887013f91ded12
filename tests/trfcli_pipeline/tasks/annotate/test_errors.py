import os
from typing import Any

import pytest
from annotating import RECORDS, read, run, stdin, write

from trfcli_pipeline.errors import DataError, TrfError
from trfcli_pipeline.tasks import annotate as task


def test_bad_record_in_a_file_is_reported_first(
    model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task, "load_pipeline", None)
    write("in.jsonl", [*RECORDS, "{"])
    with pytest.raises(DataError, match=r"in\.jsonl, line 31: not valid JSON"):
        run(model, "in.jsonl", "out.jsonl")
    assert os.listdir() == ["in.jsonl"]


def test_error_names_the_text_that_is_too_long(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write("in.jsonl", [*RECORDS[:2], {"text": "a" * 1_000_001}])
    with pytest.raises(DataError) as caught:
        run(model, "in.jsonl", "out.jsonl")
    assert caught.value.message == (
        "in.jsonl, line 3: the text has 1,000,001 characters, "
        "but the pipeline takes at most 1,000,000"
    )
    assert os.listdir() == ["in.jsonl"]
    stdin(monkeypatch, [*RECORDS[:2], {"text": "a" * 1_000_001}])
    with pytest.raises(DataError, match="stdin, line 3: the text has 1,000,001 characters"):
        run(model, "-", "out.jsonl")


@pytest.mark.parametrize(
    ("args", "options", "problem"),
    [
        (["nowhere", "in.jsonl", "out.jsonl"], {}, "nowhere: "),
        (["model", "no.jsonl", "out.jsonl"], {}, "no.jsonl: no such file"),
        (["model", "in.jsonl", "out.txt"], {}, 'out.txt: unknown suffix ".txt"'),
        (["model", "in.jsonl", "in.jsonl"], {}, "in.jsonl: is the input"),
        (["model", "in.jsonl", "no/out.jsonl"], {}, "no: "),
        (["model", "in.jsonl", "out.jsonl"], {"device": "warp"}, "--device warp: not a device"),
    ],
)
def test_bad_arguments_leave_all_files_unchanged(
    model: str, args: list[str], options: dict[str, Any], problem: str
) -> None:
    args = [model if each == "model" else each for each in args]
    with pytest.raises(TrfError) as caught:
        run(*args, **options)
    assert caught.value.message.startswith(problem)
    assert read("in.jsonl") == RECORDS
    assert os.listdir() == ["in.jsonl"]
