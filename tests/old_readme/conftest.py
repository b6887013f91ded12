"""What the README of spacy-transformers 0.5 promises, statement by statement, in its order.

People who come from that package find here what still holds. Each test is the shortest check of
one statement from end to end; the tests of the modules go deeper. What doesn't hold any more:

- Python 3.6 and spaCy 2.2: Python 3.11 and spaCy 3.8 are the least.
- Extras for CUDA versions: torch's own builds bring CUDA along.
- Packages of pretrained models to download: `trf init-model` makes a pipeline of any encoder.
- `torch.set_default_tensor_type`: trf_tok2vec finds the GPU itself, or has it from its `device`.
- `lang_factory` in meta.json: in spaCy 3, `lang` in the config says which `Language` it is.
- `python setup.py sdist`: setuptools would rather have `python -m build`, which `trf package` runs.
- `GoldParse`, and `docs` and `golds` as keywords of `update`: spaCy 3 has `Example` in their place,
  and texts with annotations go by position.
- `TransformersWordPiecer(vocab, name=...)`: spaCy 3 names the component so. The encoder's name
  goes by position.
- An error from a second `install_extensions`: it is harmless now.
- `(strings, None)` from `TransformersWordPiecer.predict`, a named tuple from that of
  `TransformersTok2Vec`: the one finds out more than strings, the other gives `Activations`, whose
  attributes have the same names.
- A list as `trf_pooler_output`: it is an array, which has a row where that list had an array.
- `doc.tensor.sum(axis=1)`: the two arrays have as many columns, not as many rows, so `axis=0`.
- 3,000 as the default of `words_per_batch`, at one place of two: 2,000, as at the other. They are
  wordpieces rather than words.
- `from spacy.tokens import Vocab`, `thinc.neural.Model`: `spacy.vocab` and `thinc.api` have them.
"""

import random
import runpy
import warnings
from pathlib import Path
from typing import Any

import pytest
from old_readme_pipelines import EVERYTHING, TEXT, TRAIN_DATA, add_textcat, set_up
from spacy.cli.package import package as spacy_package
from spacy.language import Language
from spacy.tokens import Doc
from spacy.util import fix_random_seed, minibatch


@pytest.fixture(scope="module")
def nlp(tiny_bert: Path) -> Language:
    return set_up(tiny_bert, "en", **EVERYTHING)


@pytest.fixture(scope="module")
def doc(nlp: Language) -> Doc:
    return nlp(TEXT)


@pytest.fixture(scope="module")
def training(tiny_bert: Path) -> tuple[Language, list[dict[str, float]]]:
    """That README's loop: the pipeline that comes of it, and the losses of each epoch."""
    fix_random_seed(0)
    nlp = add_textcat(set_up(tiny_bert))
    data, history = list(TRAIN_DATA), []
    optimizer = nlp.resume_training()
    for _ in range(10):
        random.shuffle(data)
        losses: dict[str, float] = {}
        for batch in minibatch(data, size=8):
            texts, cats = zip(*batch, strict=True)
            nlp.update(texts, cats, sgd=optimizer, losses=losses)
        history.append(losses)
    return nlp, history


@pytest.fixture(scope="module")
def trained(training: tuple[Language, list[dict[str, float]]]) -> Language:
    return training[0]


@pytest.fixture(scope="module")
def saved(trained: Language, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pipelines") / "bert-textcat"
    trained.to_disk(path)
    return path


@pytest.fixture(scope="module")
def packaged(saved: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """What `spacy package` makes of it, and what its setup.py gives to setuptools."""
    folder = tmp_path_factory.mktemp("packages") / "xx_trf_tiny-1.0.0"
    given: dict[str, Any] = {}
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        # It leaves it to the garbage collector to close what it writes.
        warnings.simplefilter("ignore", ResourceWarning)
        spacy_package(saved, folder.parent, name="trf_tiny", version="1.0.0", create_sdist=False)
        patch.setattr("setuptools.setup", given.update)
        patch.chdir(folder)
        runpy.run_path("setup.py", run_name="__main__")
    return folder, given


@pytest.fixture(scope="module")
def seen(tiny_bert: Path) -> dict[str, Any]:
    """What a head behind another sees of a text during an update."""
    nlp = add_textcat(set_up(tiny_bert, **EVERYTHING))
    head = nlp.add_pipe("old_readme_head")
    optimizer = nlp.resume_training()
    for _ in range(2):
        # In the first update, the classifier's weights are still zero, and so is its gradient.
        nlp.update([TRAIN_DATA[0][0]], [TRAIN_DATA[0][1]], sgd=optimizer)
    return head.seen[-1]
