import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import spacy
from spacy.language import Language
from typer.testing import Result

from trfcli_pipeline.errors import EncoderError
from trfcli_pipeline.tasks import init_model as task

Run = Callable[..., Result]
CheckFailure = Callable[[list[str], str, str | None], None]
Digest = Callable[[Path], str]


@pytest.fixture
def workspace(tmp_path: Path, tiny_bert: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, with files and folders that the command must not touch."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny-bert").symlink_to(tiny_bert)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "notes.txt").write_text("mine\n")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.cfg").write_text('[nlp]\nlang = "en"\n')
    return tmp_path


def load(path: str) -> Language:
    return spacy.load(Path(path))


def test_messages_name_encoder_output_and_next_command(run: Run, workspace: Path) -> None:
    result = run("init", "tiny-bert", "out")
    assert result.exit_code == 0
    assert result.stdout == ""
    loaded, saved, following = result.stderr.splitlines()
    assert loaded == (
        "✔ Loaded tiny-bert (bert, 2 layers, width 16, 7,888 parameters) from tiny-bert"
    )
    assert saved == (
        "✔ Saved en_trf_tinybert to out (0.1 MB): sentencizer, trf_wordpiecer, trf_tok2vec"
    )
    assert following == "  Next: trf train-textcat out train.jsonl"


def test_quiet_prints_nothing(run: Run, workspace: Path) -> None:
    result = run("init", "tiny-bert", "out", "--quiet")
    assert result.exit_code == 0
    assert result.output == ""
    assert (workspace / "out" / "config.cfg").exists()


def test_saved_pipeline_loads_without_the_encoder(run: Run, workspace: Path) -> None:
    assert run("init-model", "tiny-bert", "out").exit_code == 0
    (workspace / "tiny-bert").unlink()
    nlp = load("out")
    assert nlp.pipe_names == ["sentencizer", "trf_wordpiecer", "trf_tok2vec"]
    assert nlp("I love this film. I hate that one.").tensor.shape == (10, 16)
    assert nlp.meta["name"] == "trf_tinybert"
    assert nlp.meta["lang"] == "en"
    assert nlp.meta["trf"]["encoder"]["source"] == "tiny-bert"


def test_options_reach_the_saved_pipeline(run: Run, workspace: Path) -> None:
    result = run(
        *("init", "tiny-bert", "out"),
        *("--lang", "de", "--name", "de_spam_filter", "--words-per-batch", "123"),
    )
    assert result.exit_code == 0
    assert "✔ Saved de_spam_filter to out" in result.stderr
    nlp = load("out")
    assert (nlp.meta["lang"], nlp.meta["name"]) == ("de", "spam_filter")
    # "z.B." is an exception of the German tokenizer.
    assert [token.text for token in nlp.make_doc("z.B. Tee")] == ["z.B.", "Tee"]
    assert nlp.config["components"]["trf_tok2vec"]["words_per_batch"] == 123


def test_words_per_batch_is_a_number_or_auto(run: Run, workspace: Path) -> None:
    saved = {}
    for value in (None, "0", "auto"):
        options = [] if value is None else ["--words-per-batch", value]
        assert run("init", "tiny-bert", "out", "--force", *options).exit_code == 0
        saved[value] = load("out").config["components"]["trf_tok2vec"]["words_per_batch"]
    assert saved == {None: None, "0": 0, "auto": "auto"}


@pytest.mark.parametrize("value", ["-1", "many", "1.5", ""])
def test_other_words_per_batch_is_a_usage_error(run: Run, workspace: Path, value: str) -> None:
    result = run("init", "tiny-bert", "out", "--words-per-batch", value)
    assert result.exit_code == 2
    assert f"{value!r} is neither auto nor" in result.stderr
    assert not (workspace / "out").exists()


def test_short_options(run: Run, workspace: Path) -> None:
    for options in (("-l", "de"), ("-l", "nl", "-f")):
        assert run("init", "tiny-bert", "out", *options).exit_code == 0
    assert json.loads((workspace / "out" / "meta.json").read_text())["lang"] == "nl"


def test_revision_reaches_the_library(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    def init_model(encoder: str, output: Path, **options: Any) -> None:
        seen.update(options)
        raise EncoderError("enough")

    monkeypatch.setattr(task, "init_model", init_model)
    assert run("init", "name", "out", "--revision", "v1.0").stderr == "✘ enough\n"
    assert seen["revision"] == "v1.0"


def test_existing_output_is_overwritten_only_with_force(
    run: Run, workspace: Path, digest: Digest
) -> None:
    assert run("init", "tiny-bert", "out", "--name", "first").exit_code == 0
    (workspace / "out" / "README.md").write_text("mine")
    before = digest(workspace)

    result = run("init", "tiny-bert", "out", "--name", "second")
    assert result.exit_code == 1
    assert result.stderr == "✘ out: already exists\n  Use another directory, or --force\n"
    assert digest(workspace) == before

    assert run("init", "tiny-bert", "out", "--name", "second", "--force").exit_code == 0
    assert load("out").meta["name"] == "second"
    assert (workspace / "out" / "README.md").read_text() == "mine"
    assert sorted(path.name for path in workspace.iterdir()) == [
        *("folder", "model", "out", "tiny-bert")
    ]


def test_next_command_is_quoted_for_the_shell(run: Run, workspace: Path) -> None:
    result = run("init", "tiny-bert", "my model")
    assert result.stderr.endswith("  Next: trf train-textcat 'my model' train.jsonl\n")


def test_empty_directory_needs_no_force(run: Run, workspace: Path) -> None:
    (workspace / "out").mkdir()
    assert run("init", "tiny-bert", "out").exit_code == 0
    assert (workspace / "out" / "meta.json").exists()


def test_unknown_name_offline_has_a_hint(run: Run, workspace: Path, digest: Digest) -> None:
    before = digest(workspace)
    result = run("init", "nobody/no-such-encoder", "out")
    assert result.exit_code == 1
    assert result.stdout == ""
    problem, advice = result.stderr.splitlines()
    assert problem.startswith("✘ nobody/no-such-encoder: can't reach the Hugging Face hub")
    assert advice.startswith("  Use a directory")
    assert "cached" in advice
    assert "trf init minilm" in advice
    assert digest(workspace) == before


@pytest.mark.parametrize(
    ("args", "problem", "advice"),
    [
        (["./nowhere", "out"], "./nowhere: there is no such directory", "trf init minilm"),
        (["folder", "out"], "folder: not the directory of a model", "trf init minilm"),
        (["folder/notes.txt", "out"], "folder/notes.txt: is a file", "directory"),
        (["model", "out"], "model: is a spaCy pipeline", "trf train-textcat"),
        (
            ["not a name", "out"],
            "not a name: neither a directory nor a valid",
            "trf init minilm",
        ),
        (["tiny-bert", "folder/notes.txt"], "folder/notes.txt: is a file", "directory"),
        (
            ["tiny-bert", "folder", "--force"],
            "folder: exists and is not a spaCy pipeline",
            "another",
        ),
        (["tiny-bert", "out", "--lang", "qqq"], "qqq: spaCy can't create", "Use a code such as en"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_unusable_input_is_one_line_and_changes_nothing(
    check_failure: CheckFailure, workspace: Path, args: list[str], problem: str, advice: str | None
) -> None:
    check_failure(["init", *args], problem, advice)


@pytest.mark.parametrize(
    "args",
    [
        [],
        ["tiny-bert"],
        ["tiny-bert", "out", "surplus"],
        ["tiny-bert", "out", "--nonsense"],
        ["tiny-bert", "out", "--words-per-batch", "-1"],
        ["tiny-bert", "out", "--words-per-batch", "many"],
        ["tiny-bert", "out", "--name", "a b/c"],
    ],
    ids=" ".join,
)
def test_wrong_usage_exits_with_2(
    run: Run, workspace: Path, args: list[str], digest: Digest
) -> None:
    before = digest(workspace)
    result = run("init", *args)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("✘ ")
    assert digest(workspace) == before
