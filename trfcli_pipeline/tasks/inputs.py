"""Checks of what a command reads, before spaCy and torch are imported, which takes seconds."""

from collections.abc import Iterable

from trfcli_pipeline.data.dataset import DataSource
from trfcli_pipeline.data.reading import check_beginning
from trfcli_pipeline.pipeline.loading import check_pipeline


def check_inputs(
    model: str,
    *,
    texts: Iterable[DataSource | None] = (),
    labeled: Iterable[DataSource | None] = (),
) -> None:
    """Check that a pipeline and data files are there, and that the files begin as records do.

    Args:
        model: Directory or name of the pipeline.
        texts: Data files whose labels aren't read. None is ignored.
        labeled: Data files with labels. None is ignored.

    Raises:
        PipelineError: There is no such pipeline.
        DataError: There is no such file, or its first record is bad.
    """
    check_pipeline(model)
    for sources, is_labeled in ((texts, False), (labeled, True)):
        for source in sources:
            if source is not None:
                check_beginning(source, labeled=is_labeled)
