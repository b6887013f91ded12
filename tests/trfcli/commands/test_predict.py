import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len
from textcats import make, set_scores
from typer.testing import Result

from trfcli import console
from trfcli.rendering.predictions import print_prediction
from trfcli_pipeline.tasks.predict import BlankLine, Prediction

Run = Callable[..., Result]
CheckFailure = Callable[[list[str], str, str | None], None]

CATS = {"joy": 0.9123, "thanks": 0.8, "sadness": 0.25, "fear": 0.1, "anger": 0.05, "pride": 0.0}
THRESHOLDS = {**dict.fromkeys(CATS, 0.5), "anger": 0.04}
SEVERAL = Prediction("What fun!", ["joy", "thanks", "anger"], CATS, THRESHOLDS, exclusive=False)
ONE = Prediction("Two bills!", ["billing"], {"billing": 0.98, "bug": 0.02}, {}, exclusive=True)
NONE = Prediction("Hm.", [], {"joy": 0.2, "fear": 0.1}, {"joy": 0.5, "fear": 0.5}, exclusive=False)


@pytest.fixture
def replayed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Replaces the task with given predictions; returns the arguments that it is called with."""
    asked: dict[str, Any] = {}

    def replay(*events: Prediction | BlankLine) -> dict[str, Any]:
        def predict(*args: Any, **options: Any) -> Iterator[Prediction | BlankLine]:
            asked.update(options, args=args)
            return iter(events)

        monkeypatch.setattr("trfcli_pipeline.tasks.predict.predict", predict)
        monkeypatch.setattr("trfcli_pipeline.tasks.inputs.check_inputs", lambda _: None)
        return asked

    return replay


@pytest.mark.parametrize(
    ("args", "changed"),
    [
        (["a text"], {"args": ("m", ["a text"])}),
        (["a text", "-"], {"args": ("m", ["a text", "-"])}),
        ([], {}),
        (["-"], {}),
        (["--threshold", "0.3"], {"threshold": 0.3}),
        (["--device", "cuda:1"], {"device": "cuda:1"}),
    ],
)
def test_arguments_of_the_task(
    run: Run, replayed: Callable[..., Any], args: list[str], changed: dict[str, Any]
) -> None:
    asked = replayed(ONE)
    assert run("predict", "m", *args).exit_code == 0
    assert asked == {"args": ("m", None), "threshold": None, "device": "auto", **changed}


def test_unsure_and_unusual_texts_are_marked(run: Run, replayed: Callable[..., Any]) -> None:
    unsure = replace(ONE, unsure=True, label_set=["billing", "bug"], novelty=1.234)
    replayed(unsure)
    assert run("predict", "m", "a text").stdout.splitlines()[2:] == [
        "   unsure: one of billing, bug",
        "   unlike the labeled texts (novelty 1.23)",
    ]
    assert json.loads(run("predict", "m", "a text", "--json").stdout) == {
        "text": "Two bills!",
        "label": "billing",
        "unsure": True,
        "label_set": ["billing", "bug"],
        "novelty": 1.234,
        "cats": {"billing": 0.98, "bug": 0.02},
    }
    replayed(replace(ONE, unsure=False, label_set=["billing"], novelty=0.9))
    assert len(run("predict", "m", "a text").stdout.splitlines()) == 2


def test_single_text_is_not_repeated(run: Run, replayed: Callable[..., Any]) -> None:
    replayed(ONE)
    result = run("predict", "m", "Two bills!")
    assert result.stderr == ""
    assert result.stdout == " → billing  0.980\n   bug      0.020\n"


def test_texts_and_the_labels_that_apply(run: Run, replayed: Callable[..., Any]) -> None:
    replayed(SEVERAL, NONE)
    result = run("predict", "m", "What fun!", "Hm.")
    assert result.stdout.splitlines() == [
        " What fun!",
        " → joy      0.912   threshold 0.5",
        " → thanks   0.800   threshold 0.5",
        " → anger    0.050   threshold 0.04",
        "   sadness  0.250   threshold 0.5",
        "   fear     0.100   threshold 0.5",
        "",
        " Hm.",
        "   no label",
        "   joy   0.200   threshold 0.5",
        "   fear  0.100   threshold 0.5",
        "",
    ]


def test_top_k_limits_the_labels_but_not_those_that_apply(
    run: Run, replayed: Callable[..., Any]
) -> None:
    replayed(SEVERAL)
    one = run("predict", "m", "What fun!", "--top-k", "1").stdout.split()
    assert [word for word in one if word in CATS] == SEVERAL.labels
    assert len(run("predict", "m", "What fun!", "--top-k", "9").stdout.splitlines()) == len(CATS)
    assert run("predict", "m", "What fun!", "--top-k", "0").exit_code == 2


def test_json_has_one_line_per_text(run: Run, replayed: Callable[..., Any]) -> None:
    replayed(SEVERAL, ONE)
    result = run("predict", "m", "--json", input="")
    assert result.stderr == ""
    first, second = map(json.loads, result.stdout.splitlines())
    assert first == {"text": "What fun!", "labels": ["joy", "thanks", "anger"], "cats": CATS}
    assert second == {"text": "Two bills!", "label": "billing", "cats": ONE.cats}
    top = run("predict", "m", "--json", "--top-k", "2").stdout.splitlines()
    assert json.loads(top[0])["cats"] == {"joy": 0.9123, "thanks": 0.8}


def test_typed_texts_get_a_note_and_are_not_repeated(
    run: Run, replayed: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def isatty(stream: Any) -> bool:
        return stream.name in terminals

    monkeypatch.setattr("typer.testing._NamedTextIOWrapper.isatty", isatty)
    replayed(ONE)
    terminals = {"<stdin>"}
    shown = []
    info = console.info
    monkeypatch.setattr(
        console, "info", lambda text: (shown.append(console.settings.status), info(text))
    )
    result = run("predict", "m")
    # Nothing is drawn while the user types.
    assert shown == [None]
    assert result.stderr == "ℹ Type a text and press Enter. Ctrl-D ends.\n"
    assert result.stdout.startswith(" Two bills!\n")
    terminals = {"<stdin>", "<stdout>"}
    result = run("predict", "m", "-", env={"NO_COLOR": "1"})
    assert result.stdout == " → billing  0.980\n   bug      0.020\n"
    assert run("predict", "m", "--quiet").stderr == ""
    # No text is wrong usage only where nobody is asked for one.
    replayed()
    assert run("predict", "m").exit_code == 0


def test_blank_lines_and_no_texts(run: Run, replayed: Callable[..., Any]) -> None:
    replayed(BlankLine(3))
    result = run("predict", "m", input="")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        "⚠ stdin, line 3: skipped, because it is empty",
        "✘ stdin: no text",
        '  Give it one: trf predict MODEL "A text."',
    ]


def test_blank_text_is_wrong_usage(run: Run, replayed: Callable[..., Any]) -> None:
    asked = replayed(ONE)
    result = run("predict", "m", "a text", "  ")
    assert result.exit_code == 2
    assert result.output == "✘ TEXT is empty\n"
    assert asked == {}


def test_name_of_a_file_is_taken_as_a_text_with_a_warning(
    run: Run, replayed: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my texts.csv").touch()
    asked = replayed(ONE)
    result = run("predict", "m", "my texts.csv", "x" * 5000)
    assert result.exit_code == 0
    assert asked["args"] == ("m", ["my texts.csv", "x" * 5000])
    assert result.stderr == (
        "⚠ my texts.csv is a file, but its name is taken as a text. "
        "For its texts: trf annotate m 'my texts.csv' OUTPUT\n"
    )


def test_no_escape_sequence_reaches_the_terminal(run: Run, replayed: Callable[..., Any]) -> None:
    odd = "a \x9b31m b \u202e c \x1b[2J"
    replayed(Prediction(odd, [odd], {odd: 0.75, "b": 0.25}, {}, exclusive=True))
    for options in ([], ["--json"]):
        result = run("predict", "m", *options, input="")
        assert all(line.isprintable() for line in result.stdout.splitlines())
    assert json.loads(result.stdout)["label"] == odd


def test_long_labels_do_not_widen_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    long = "x" * 60
    cats = {"日本": 0.5, long: 0.3, "b": 0.2}
    print_prediction(Prediction("", ["日本"], cats, {}, exclusive=True), 5, with_text=False)
    wide, longest, short = capsys.readouterr().out.splitlines()
    assert wide == f" → 日本{' ' * 36}  0.500"
    assert longest == f"   {long}  0.300"
    assert short == f"   b{' ' * 39}  0.200"


def test_scores_stay_on_their_line_on_a_narrow_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trfcli.console.data_width", lambda: 39)
    prediction = Prediction("", ["b"], {"b": 0.5, "x" * 60: 0.5}, {}, exclusive=True)
    print_prediction(prediction, 1, with_text=False)
    (line,) = capsys.readouterr().out.splitlines()
    assert line == f" → b{' ' * 30}0.500"
    assert len(line) == 39


@pytest.mark.parametrize(("width", "shown"), [(39, 38), (1_000_000, 60)])
@pytest.mark.parametrize("letter", ["a", "日"])
def test_text_is_cut_at_the_width_of_the_terminal(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    width: int,
    shown: int,
    letter: str,
) -> None:
    monkeypatch.setattr("trfcli.console.data_width", lambda: width)
    prediction = Prediction(letter * 100, ["b"], {"b": 0.5}, {}, exclusive=True)
    print_prediction(prediction, 1, with_text=True)
    first, *_ = capsys.readouterr().out.splitlines()
    assert first.endswith("…")
    assert shown - 1 <= cell_len(first) - 1 <= shown


def test_saved_pipeline(tiny_bert: Path, tmp_path: Path, run: Run) -> None:
    nlp = make(tiny_bert, weights=False, exclusive_classes=False)
    set_scores(nlp, {"FRUIT": 0.61, "DOG": 0.32, "FILM": 0.53})
    nlp.get_pipe("trf_textcat").thresholds = {"FRUIT": 0.7, "DOG": 0.2}
    nlp.to_disk(tmp_path / "model")
    result = run("predict", str(tmp_path / "model"), input="a film\n")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        " a film",
        " → FILM   0.530   threshold 0.5",
        " → DOG    0.320   threshold 0.2",
        "   FRUIT  0.610   threshold 0.7",
        "",
    ]


def test_missing_pipeline(
    check_failure: CheckFailure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    check_failure(["predict", "./nothing", "a text"], "./nothing: there is no such", "trf init")
