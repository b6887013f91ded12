"""Create a spaCy pipeline from a pretrained encoder."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from trfcli_pipeline.data.outputs.directories import open_directory
from trfcli_pipeline.pipeline.creating import create_pipeline
from trfcli_pipeline.pipeline.loading import check_name
from trfcli_pipeline.pipeline.saved import PIPELINE
from trfcli_pipeline.progress import phase

if TYPE_CHECKING:
    from trfcli_pipeline.pipeline.language import TransformersLanguage

# Of a saved parameter.
_BYTES = 4


def init_model(
    encoder: str,
    output: Path,
    *,
    lang: str = "en",
    name: str | None = None,
    words_per_batch: int | str | None = None,
    revision: str | None = None,
    force: bool = False,
) -> tuple["TransformersLanguage", dict[str, Any]]:
    """Create a pipeline from a pretrained encoder and save it.

    Args:
        encoder: A hub id, a directory, or the name of a packaged encoder.
        output: The directory to save the pipeline to.
        lang: Code of the language whose tokenizer the pipeline uses.
        name: Name of the pipeline. By default it is derived from the encoder's.
        words_per_batch: Wordpieces per sub-batch of the encoder, padding included; 0 for no limit,
            "auto" for as many as fit in memory.
        revision: A branch, tag or commit on the hub.
        force: Replace an existing pipeline. Other files in its directory stay.

    Returns:
        The pipeline, and the facts about its encoder that are saved in its meta: "name", "source",
        "revision", and those of `describe_encoder`.

    Raises:
        EncoderError: The encoder can't be found or used.
        ArgumentError: `name` can't be part of a package name.
        PipelineError: spaCy can't create the tokenizer of `lang`.
        OutputError: The output exists and `force` isn't set, or it can't be written.
    """
    if name is not None:
        check_name(name)
    with open_directory(output, PIPELINE, force=force, models=[encoder]) as claim:
        with phase(f"Loading {encoder}"):
            nlp, facts = create_pipeline(
                encoder, lang=lang, name=name, words_per_batch=words_per_batch, revision=revision
            )
        claim.check_room(_BYTES * facts["parameters"])
        with phase(f"Saving {output}"), claim.staged() as staging:
            nlp.to_disk(staging)
    return nlp, facts
