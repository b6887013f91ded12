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
    assert all(hasattr(trfcli_pipeline, name) for name in trfcli_pipeline.__all__)
