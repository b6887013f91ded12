"""Find the components of a pipeline by their class, and the pipeline of a component."""

import inspect
from typing import Any, TypeVar

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


def find_pipeline(component: Any, default: Language | None) -> Language | None:
    """Find the pipeline that is updating or loading a component.

    spaCy doesn't tell a component which pipeline it is in. It may be in several, because
    `add_pipe(source=...)` shares components, and a copied or unpickled one is in a new pipeline. So
    we look for the pipeline among the callers.

    Args:
        component: The component.
        default: A pipeline that it may be in, if it is called by none.
    """
    frame = inspect.currentframe()
    while frame is not None:
        caller = frame.f_locals.get("self")
        if isinstance(caller, Language) and _has(caller, component):
            return caller
        frame = frame.f_back
    return default if default is not None and _has(default, component) else None


def _has(nlp: Language, component: Any) -> bool:
    return any(pipe is component for _, pipe in nlp.components)


def no_rehearsal(name: str) -> PipelineError:
    """Create the error of `nlp.rehearse` for the component `name`."""
    return PipelineError(
        f"{name}: can't be rehearsed, because it learns together with the encoder",
        hint="Mix texts of the earlier data into each batch of nlp.update instead",
    )
