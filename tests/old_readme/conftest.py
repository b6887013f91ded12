"""The README of spacy-transformers 0.5, statement by statement, in its order.

Each test is the shortest end-to-end check of one statement of that README, for users who come from
that package; the tests of the modules go deeper. What has changed:

- Python 3.6 and spaCy 2.2: the minimum is Python 3.11 and spaCy 3.8.
- Extras for CUDA versions: torch's builds include CUDA.
- Packages of pretrained models: `trf init-model` creates a pipeline from any encoder.
- `torch.set_default_tensor_type`: trf_tok2vec finds the GPU itself, or uses its `device` setting.
- `lang_factory` in meta.json: in spaCy 3, `lang` in the config selects the `Language` class.
- `python setup.py sdist`: use `trf package`.
- `GoldParse`, and the keywords `docs` and `golds` of `update`: spaCy 3 has `Example`; texts and
  annotations are positional arguments.
- `TransformersWordPiecer(vocab, name=...)`: in spaCy 3, `name` is the name of the component; the
  name of the encoder is a positional argument.
- A second call of `install_extensions` is no longer an error.
- `TransformersWordPiecer.predict` returned `(strings, None)`, `TransformersTok2Vec.predict` a named
  tuple: the former returns more than strings, the latter `Activations` with the same names.
- `trf_pooler_output` was a list: it is an array with a row per sentence.
- `doc.tensor.sum(axis=1)`: the two arrays have the same number of columns, so use `axis=0`.
- `words_per_batch` had a default of 3,000 in one place and 2,000 in another: it is 2,000. It counts
  wordpieces rather than words.
- The name of a model's directory implied its type: the config.json has to name the type or an
  architecture.
- `from spacy.tokens import Vocab`, `thinc.neural.Model`: use `spacy.vocab` and `thinc.api`.
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
    """The training loop of that README: its pipeline, and the losses of each epoch."""
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
    """The output of `spacy package`, and the arguments of its setup.py to setuptools."""
    folder = tmp_path_factory.mktemp("packages") / "xx_trf_tiny-1.0.0"
    given: dict[str, Any] = {}
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        # spaCy doesn't close the files that it writes.
        warnings.simplefilter("ignore", ResourceWarning)
        spacy_package(saved, folder.parent, name="trf_tiny", version="1.0.0", create_sdist=False)
        patch.setattr("setuptools.setup", given.update)
        patch.chdir(folder)
        runpy.run_path("setup.py", run_name="__main__")
    return folder, given


@pytest.fixture(scope="module")
def seen(tiny_bert: Path) -> dict[str, Any]:
    """What the last of two heads sees of a text during an update."""
    nlp = add_textcat(set_up(tiny_bert, **EVERYTHING))
    head = nlp.add_pipe("old_readme_head")
    optimizer = nlp.resume_training()
    for _ in range(2):
        # In the first update, the weights of the classifier are zero, and so is its gradient.
        nlp.update([TRAIN_DATA[0][0]], [TRAIN_DATA[0][1]], sgd=optimizer)
    return head.seen[-1]
