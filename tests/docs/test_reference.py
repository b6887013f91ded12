"""The reference says what the program does: commands, settings, metrics, records."""

import inspect
import json
import re
from collections.abc import Callable
from typing import Any

import cli
import pytest
import spacy
from blocks import ROOT
from shell import run_command
from spacy.util import registry

import trfcli_pipeline

REFERENCE = ROOT / "docs" / "reference"
FACTORIES = ("trf_wordpiecer", "trf_tok2vec", "trf_textcat")
REGISTERED = {
    "trfcli.AdamW.v1": registry.optimizers,
    "trfcli.Corpus.v1": registry.readers,
    "trfcli.batch_by_length.v1": registry.batchers,
    "trfcli.LanguageTokenizer.v1": registry.tokenizers,
    "trfcli.SoftmaxLastHidden.v1": registry.architectures,
}


def read_table(page: str, heading: str) -> dict[str, str]:
    """The first two columns of the table under the heading that starts with `heading`."""
    text = (REFERENCE / page).read_text(encoding="utf8")
    section = re.split(r"^## ", text, flags=re.MULTILINE)
    (found,) = (each for each in section if each.startswith(heading))
    rows = [row.split("|") for row in found.splitlines() if row.startswith("| `")]
    return {name: row[2].strip(" `") for row in rows for name in re.findall(r"`([^`]+)`", row[1])}


def test_the_page_of_the_command_line_is_up_to_date() -> None:
    assert cli.PAGE.read_text(encoding="utf8") == cli.reference(), "Run: make docs-cli"


@pytest.mark.parametrize("name", FACTORIES)
def test_every_setting_is_listed_with_its_default(name: str) -> None:
    defaults = dict(spacy.blank("trf").get_factory_meta(name).default_config)
    expected = {key: json.dumps(value) for key, value in defaults.items()}
    assert read_table("settings.md", name) == expected


@pytest.mark.parametrize("name", REGISTERED)
def test_every_argument_is_listed_with_its_default(name: str) -> None:
    make: Callable[..., Any] = REGISTERED[name].get(name)
    expected = {
        each.name: "" if each.default is each.empty else json.dumps(each.default)
        for each in inspect.signature(make).parameters.values()
    }
    assert read_table("settings.md", name) == expected


def test_the_page_of_the_api_has_every_public_name() -> None:
    text = (REFERENCE / "api.md").read_text(encoding="utf8")
    documented = set(re.findall(r"^::: trfcli_pipeline\.(\w+)$", text, re.MULTILINE))
    assert documented == {*trfcli_pipeline.__all__, "errors"}


def test_every_registered_name_is_listed() -> None:
    text = (REFERENCE / "api.md").read_text(encoding="utf8")
    for kind in ("architectures", "tokenizers", "optimizers", "readers", "batchers", "scorers"):
        names = {name for name in getattr(registry, kind).get_all() if name.startswith("trfcli.")}
        row = next(line for line in text.splitlines() if line.startswith(f"| `{kind}`"))
        assert set(re.findall(r"`(trfcli\.[^`]+)`", row)) == names


@pytest.mark.usefixtures("reader")
def test_every_metric_is_explained() -> None:
    metrics = json.loads(run_command("trf evaluate ./trained test.jsonl --json --quiet"))
    assert set(read_table("metrics.md", "The keys")) == set(metrics)


@pytest.mark.usefixtures("reader")
def test_every_key_of_a_comparison_is_explained() -> None:
    output = run_command("trf compare ./trained ./trained test.jsonl --json --quiet")
    assert set(read_table("metrics.md", "Comparing")) == set(json.loads(output))
