"""Checks that the components of a pipeline fit together."""

from spacy.language import Language

from trfcli_pipeline.errors import PipelineError
from trfcli_pipeline.pipeline.textcat import TransformersTextCategorizer
from trfcli_pipeline.pipeline.textcat_checks import check_labels
from trfcli_pipeline.pipeline.tok2vec import TransformersTok2Vec
from trfcli_pipeline.pipeline.tokenizer_checks import check_tokenizer
from trfcli_pipeline.pipeline.wordpiecer import TransformersWordPiecer


def check_components(nlp: Language) -> None:
    """Check that tokenizer, encoder and classifiers fit together, as far as they are loaded.

    Raises:
        PipelineError: They don't.
    """
    pipes = [pipe for _, pipe in nlp.pipeline]
    encoder = next((each for each in pipes if isinstance(each, TransformersTok2Vec)), None)
    if encoder is None or not encoder.model.shim.is_loaded:
        return
    for pipe in pipes:
        if isinstance(pipe, TransformersWordPiecer) and pipe.is_loaded:
            check_tokenizer(pipe, encoder.transformers_model.config)
        elif isinstance(pipe, TransformersTextCategorizer) and pipe.is_initialized:
            check_labels(pipe.name, pipe.labels, pipe.model)
            own, width = (
                pipe.model.get_ref("output_layer").get_dim("nI"),
                encoder.model.get_dim("nO"),
            )
            if own != width:
                raise PipelineError(
                    f"{pipe.name}: was trained with an encoder of width {own}; {encoder.name} has "
                    f"{width}",
                    hint=f"Train it with this encoder: nlp.remove_pipe({pipe.name!r}) and add a "
                    "new one",
                )
