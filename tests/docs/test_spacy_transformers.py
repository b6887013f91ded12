"""The config before and after a move from spacy-transformers 1.x."""

import pytest
from blocks import ROOT, read_blocks
from spacy.training import Example
from spacy.util import load_model_from_config, registry
from thinc.api import Config

PAGE = ROOT / "docs" / "coming-from" / "spacy-transformers-1.md"


@pytest.fixture
def configs() -> list[Config]:
    blocks = [block for block in read_blocks(PAGE) if block.language == "ini"]
    return [Config().from_str(block.code) for block in blocks]


def test_both_configs_have_the_same_head_and_rates(configs: list[Config]) -> None:
    before, after = configs
    heads = [dict(config["components"]["ner"]["model"]) for config in configs]
    assert heads[0].pop("tok2vec") != heads[1].pop("tok2vec")
    assert heads[0] == heads[1]
    rate_before = before["training"]["optimizer"]["learn_rate"]
    assert rate_before == after["training"]["optimizer"]["trf_lr"]


@pytest.mark.usefixtures("reader")
def test_the_config_after_the_move_trains(configs: list[Config]) -> None:
    _, after = configs
    nlp = load_model_from_config(after, auto_fill=True)
    doc = nlp.make_doc("Ana from Acme called.")
    examples = [Example.from_dict(doc, {"entities": [(0, 3, "PERSON"), (9, 13, "ORG")]})]
    nlp.initialize(lambda: examples)
    optimizer = registry.resolve(after["training"])["optimizer"]
    losses = nlp.update(examples, sgd=optimizer)
    assert losses["ner"] > 0
