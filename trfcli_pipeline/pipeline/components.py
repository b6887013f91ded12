"""Find the components of a pipeline by their class."""

from typing import TypeVar

from spacy.language import Language

from trfcli_pipeline.errors import PipelineError

Component = TypeVar("Component")


def find_component(nlp: Language, kind: type[Component]) -> Component | None:
    """Return the first component of a class, preferably an enabled one; None if there is none."""
    # spaCy disables frozen components while it initializes the others, which still need them.
    pipes = [pipe for _, pipe in (*nlp.pipeline, *nlp.components)]
    return next((pipe for pipe in pipes if isinstance(pipe, kind)), None)


def require_component(nlp: Language, kind: type[Component]) -> Component:
    """Return what `find_component` finds.

    Raises:
        PipelineError: There is none.
    """
    found = find_component(nlp, kind)
    if found is None:
        name = getattr(kind, "factory", kind.__name__)
        raise PipelineError(
            f"The pipeline has no {name}",
            hint="Create one that has it: trf init minilm ./model",
        )
    return found


def no_rehearsal(name: str) -> PipelineError:
    """Create the error of `nlp.rehearse` for the component `name`."""
    return PipelineError(
        f"{name}: can't be rehearsed, because it learns together with the encoder",
        hint="Mix texts of the earlier data into each batch of nlp.update instead",
    )
