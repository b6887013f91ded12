from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from spacy.cli._util import app
from spacy.language import Language
from spacy.tokens import DocBin
from spacy.util import fix_random_seed
from tiny_ner import NER, TEXT, examples, make_nlp
from typer.testing import CliRunner, Result

from trfcli_pipeline.pipeline.optimizer import TransformersOptimizer


@pytest.fixture(scope="module")
def trained(tiny_bert: Path) -> Language:
    """A pipeline trained on entities and on labels that aren't exclusive."""
    fix_random_seed(0)
    nlp = make_nlp(tiny_bert)
    nlp.add_pipe("trf_textcat")
    nlp.add_pipe("ner", config={"model": NER})
    nlp.initialize(lambda: examples(nlp))
    optimizer = TransformersOptimizer(learn_rate=0.02, trf_lr=0.003)
    for _ in range(40):
        nlp.update(examples(nlp), sgd=optimizer)
    assert [ent.text for ent in nlp(TEXT).ents] == ["Apple"]
    return nlp


@pytest.fixture(scope="module")
def model(trained: Language, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pipelines") / "model"
    trained.to_disk(path)
    return path


@pytest.fixture
def data(trained: Language, tmp_path: Path) -> Path:
    path = tmp_path / "data.spacy"
    DocBin(docs=[eg.reference for eg in examples(trained)]).to_disk(path)
    return path


@pytest.fixture
def spacy_cli() -> Iterator[Callable[..., Result]]:
    """Run `python -m spacy ...` in this process."""
    # `benchmark speed` sets the number of threads.
    threads = torch.get_num_threads()

    def run(*arguments: object) -> Result:
        result = CliRunner().invoke(app, list(map(str, arguments)))
        if result.exit_code:
            raise AssertionError(result.output) from result.exception
        return result

    yield run
    torch.set_num_threads(threads)
