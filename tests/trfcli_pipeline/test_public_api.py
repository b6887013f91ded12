import subprocess
import sys

import pytest

import trfcli_pipeline


def test_public_names() -> None:
    assert trfcli_pipeline.__all__ == [
        "Activations",
        "TransformersLanguage",
        "TransformersTextCategorizer",
        "TransformersTok2Vec",
        "TransformersWordPiecer",
        "verify",
    ]
    for name in trfcli_pipeline.__all__:
        assert getattr(trfcli_pipeline, name).__name__ == name
    assert {*trfcli_pipeline.__all__} <= {*dir(trfcli_pipeline)}


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'trfcli_pipeline' has no attribute 'nonsense'"):
        _ = trfcli_pipeline.nonsense


def test_attributes_are_registered_with_the_first_name_and_torch_is_imported_then() -> None:
    program = (
        "import sys, trfcli_pipeline\n"
        "assert 'torch' not in sys.modules and 'spacy' not in sys.modules\n"
        "from trfcli_pipeline import verify\n"
        "from spacy.tokens import Doc\n"
        "assert Doc.has_extension('trf_alignment')\n"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
