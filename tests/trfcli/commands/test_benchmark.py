import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from trfcli_pipeline.data.dataset import DataSet
from trfcli_pipeline.errors import PipelineError
from trfcli_pipeline.tasks.speed import Measurement

Run = Callable[..., Result]
Asked = list[dict[str, Any]]


def measurement(seconds: float, n_texts: int, *, with_encoder: bool) -> Measurement:
    parts = {"tokenizer": seconds / 4, "trf_tok2vec": 3 * seconds / 4}
    work = {"wordpieces": seconds / 4, "encoder": seconds / 4, "bookkeeping": seconds / 4}
    return Measurement(
        n_texts=n_texts,
        n_words=10_000,
        device="cpu",
        threads=2,
        batch_size=128,
        seconds=seconds,
        load_seconds=0.5,
        start_seconds=2.5,
        peak_bytes=600_000_000,
        parts=parts,
        work=work if with_encoder else {},
    )


@pytest.fixture(autouse=True)
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """Calls of the library. It reports that "a" is twice as fast as "b"."""
    asked: Asked = []

    def benchmark(
        models: Sequence[str], data: str, *, rounds: int, **options: Any
    ) -> Iterator[Measurement]:
        asked.append({"models": models, "data": data, "rounds": rounds, **options})
        for number in range(rounds):
            for model in models:
                if model not in ("a", "b"):
                    raise PipelineError(f"{model}: no such pipeline", hint="Make one")
                slowness = 1 if model == "a" else 2
                yield measurement((number + 1) * slowness, 556, with_encoder=model == "a")

    monkeypatch.setattr("trfcli_pipeline.tasks.benchmark.benchmark", benchmark)
    return asked


def test_tables_of_one_pipeline(run: Run, asked: Asked) -> None:
    result = run("benchmark", "a", "--rounds", "3")
    assert result.exit_code == 0
    assert result.stderr == ""
    assert result.stdout.splitlines() == [
        " 556 texts, 10,000 words; cpu, 2 threads, 3 rounds",
        "                             median   lowest to highest",
        " words/s                      5,000     3,333 to 10,000",
        " texts/s                      278.0      185.3 to 556.0",
        " seconds to load               0.50        0.50 to 0.50",
        " seconds to start and load     2.50        2.50 to 2.50",
        " peak memory (MB)               600          600 to 600",
        "",
        " part                          words/s   texts/s   share of time",
        " tokenizer                      20,000     1,112          25.0 %",
        " trf_tok2vec                     6,667       371          75.0 %",
        "   wordpiece tokenizer          20,000     1,112          25.0 %",
        "   forward pass                 20,000     1,112          25.0 %",
        "   alignment and bookkeeping    20,000     1,112          25.0 %",
    ]


def test_two_pipelines_are_shown_side_by_side(run: Run, asked: Asked) -> None:
    result = run("benchmark", "a", "--against", "b", "--rounds", "1")
    assert result.exit_code == 0
    first, header, words, *rest = result.stdout.splitlines()
    assert first.endswith("1 round")
    assert header.split() == [
        "a",
        *["lowest", "to", "highest", "b"],
        *["lowest", "to", "highest", "first", "/", "second"],
    ]
    assert words.split() == [
        "words/s",
        *["10,000", "10,000", "to", "10,000", "5,000", "5,000", "to", "5,000", "2.00"],
    ]
    assert rest.index(" a") < rest.index(" b")
    # "b" has no encoder.
    assert sum("forward pass" in line for line in rest) == 1
    assert asked[0]["models"] == ["a", "b"]


def test_json_has_ratios_only_for_two_pipelines(run: Run, asked: Asked) -> None:
    result = run("benchmark", "a", "--json", "--rounds", "2")
    assert result.stderr == ""
    found = json.loads(result.stdout)
    assert list(found) == ["data", "pipelines"]
    assert found["pipelines"][0]["words_per_second"]["median"] == 7_500
    found = json.loads(run("benchmark", "a", "--json", "--against", "b").stdout)
    assert [each["model"] for each in found["pipelines"]] == ["a", "b"]
    assert found["ratios"]["words_per_second"] == 2


def test_options_reach_the_library(run: Run, asked: Asked) -> None:
    options = ("--max-texts", "2", "-b", "16", "--device", "cpu")
    assert run("benchmark", "a", "texts.jsonl", *options).exit_code == 0
    assert asked == [
        {
            "models": ["a"],
            "data": DataSet.named("texts.jsonl"),
            "max_texts": 2,
            "rounds": 5,
            "batch_size": 16,
            "device": "cpu",
        }
    ]


def test_default_texts_are_shipped_with_the_package(run: Run, asked: Asked) -> None:
    assert run("benchmark", "a").exit_code == 0
    assert Path(asked[0]["data"]).name == "test.jsonl"
    assert Path(asked[0]["data"]).exists()


@pytest.mark.parametrize(
    ("args", "problem"),
    [
        (["nowhere"], "nowhere: no such pipeline"),
        (["a", "--against", "nowhere"], "nowhere: no such pipeline"),
    ],
)
def test_failures_are_one_line_and_change_nothing(
    check_failure: Callable[..., None],
    args: list[str],
    problem: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    check_failure(["benchmark", *args], problem, "")


@pytest.mark.parametrize("args", [["--rounds", "0"], ["--max-texts", "0"], ["--rounds", "x"]])
def test_wrong_usage_exits_with_2(run: Run, args: list[str]) -> None:
    assert run("benchmark", "a", *args).exit_code == 2
