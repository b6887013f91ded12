"""Check labeled texts: label errors, copies, outliers, confused labels, leaks between files."""

from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trfcli_pipeline.data.checks import data_warnings, with_text
from trfcli_pipeline.data.dataset import DataSource
from trfcli_pipeline.data.labels import is_exclusive
from trfcli_pipeline.data.outputs.files import check_distinct, open_file
from trfcli_pipeline.data.reading import check_beginning, read_records
from trfcli_pipeline.data.records import Record
from trfcli_pipeline.data.wording import agree, enumeration, plural
from trfcli_pipeline.errors import DataError
from trfcli_pipeline.huggingface.sources import locate
from trfcli_pipeline.pipeline.loading import check_pipeline, is_pipeline
from trfcli_pipeline.progress import phase
from trfcli_pipeline.tasks.check_files import CORRECTIONS, PAGE, render_corrections
from trfcli_pipeline.tasks.check_result import CheckResult
from trfcli_pipeline.tasks.origin import read_origin

if TYPE_CHECKING:
    from spacy.language import Language

    from trfcli_pipeline.curation.copies import Copy
    from trfcli_pipeline.curation.features import Features
    from trfcli_pipeline.curation.gold import Gold
    from trfcli_pipeline.curation.label_errors import LabelErrors

_LEAST_TEXTS = 20


def check(
    data: DataSource,
    *,
    model: str = "minilm",
    against: DataSource | None = None,
    output: Path | None = None,
    html: Path | None = None,
    finetune: bool = False,
    seed: int = 0,
    device: str = "auto",
) -> CheckResult:
    """Check labeled texts.

    Args:
        data: The texts.
        model: An encoder as `init_model` takes it, or a pipeline.
        against: Texts of another file, such as a test set, to look for copies of.
        output: A file to write the doubtful texts to; see `data/corrections.py`.
        html: A page to write, on which a person goes through the doubtful texts.
        finetune: Whether to fine-tune the encoder for the predictions. Otherwise a linear
            classifier on its features is fitted.
        seed: Seed of the folds, and of fine-tuning.
        device: Where to run the encoder.

    Raises:
        DataError: The texts can't be used.
        EncoderError: The encoder can't be found or used.
        PipelineError: The pipeline can't be loaded or has no encoder.
        DeviceError: The machine has no such device.
        OutputError: A file can't be written, is an input, or is there already and either wasn't
            written by this function or has corrections.
    """
    check_distinct(output, html)
    for source in (data, against):
        if source is not None:
            check_beginning(source, labeled=source is data)
    if is_pipeline(model):
        check_pipeline(model)
    else:
        locate(model)
    with ExitStack() as claims:
        corrections, page = (
            None
            if path is None
            else claims.enter_context(open_file(path, kind, models=[model], data=[data, against]))
            for path, kind in ((output, CORRECTIONS), (html, PAGE))
        )
        result = _check(
            data, model=model, against=against, finetune=finetune, seed=seed, device=device
        )
        if corrections is not None:
            corrections.write(render_corrections(result))
        if page is not None:
            from trfcli_pipeline.tasks.check_page import render_check

            page.write(render_check(result, data=str(data), model=model))
    return result


def _check(
    data: DataSource,
    *,
    model: str,
    against: DataSource | None,
    finetune: bool,
    seed: int,
    device: str,
) -> CheckResult:
    all_records = read_records(data, labeled=True)
    # Empty texts are copies of each other, but of no use to anybody: a remark is enough.
    records = list(with_text(all_records))
    others = [] if against is None else list(with_text(read_records(against, labeled=False)))
    _check_records(records, data)
    # spaCy and torch take seconds to import, so errors in the data come before.
    import numpy as np

    from trfcli_pipeline.curation.confusions import find_confusions
    from trfcli_pipeline.curation.copies import find_disagreements, find_leaks
    from trfcli_pipeline.curation.doubtful_texts import find_doubtful_texts
    from trfcli_pipeline.curation.features import encode_all, load_encoder
    from trfcli_pipeline.curation.gold import Gold
    from trfcli_pipeline.curation.label_errors import NEIGHBORS
    from trfcli_pipeline.curation.layer_features import encode_layers
    from trfcli_pipeline.curation.neighbors import find_neighbors
    from trfcli_pipeline.curation.outliers import find_outliers, mean_distances

    gold = Gold.from_records(records)
    nlp = load_encoder(model, device=device)
    texts = (record.text for record in records)
    features, candidates = encode_layers(nlp, texts, total=len(records))
    neighbors = find_neighbors(features, NEIGHBORS)
    errors = _find_errors(
        nlp, records, gold, candidates, finetune=finetune, seed=seed, device=device
    )
    disagreements = find_disagreements(records, features, neighbors)
    distances = mean_distances(neighbors)
    with phase("Looking for problems in the texts"):
        unchecked = [gold.labels[column] for column in np.flatnonzero(~errors.judged)]
        remarks = data_warnings(all_records, [], train_name="the data")
        remarks += _not_judged(unchecked)
    leaks: Sequence[Copy] = ()
    if others:
        of_others = encode_all(nlp, (record.text for record in others), total=len(others))
        leaks = find_leaks(records, others, features, of_others)
    return CheckResult(
        records=records,
        others=others,
        labels=gold.labels,
        unchecked=unchecked,
        exclusive=gold.exclusive,
        n_errors=errors.number,
        interval=errors.interval,
        doubtful=find_doubtful_texts(records, gold, features, errors, disagreements),
        disagreements=disagreements,
        confusions=find_confusions(errors.pairs, gold.labels),
        outliers=[(index, float(distances[index])) for index in find_outliers(neighbors).tolist()],
        leaks=leaks,
        remarks=remarks,
        warnings=_warnings(nlp.meta, data, model),
    )


def _check_records(records: Sequence[Record], data: DataSource) -> None:
    labels = Counter(label for record in records for label in record.labels)
    if len(records) < _LEAST_TEXTS:
        raise DataError(
            f"{data}: {plural(len(records), 'text')}, too few to find label errors",
            hint=f"Label at least {_LEAST_TEXTS} texts",
        )
    if len(labels) < (2 if is_exclusive(records) else 1):
        found = f"the same label, {min(labels)}" if labels else "no label"
        raise DataError(
            f"{data}: all texts have {found}",
            hint="Label errors can only be found among texts of at least two labels",
        )
    if max(labels.values()) == 1:
        raise DataError(
            f"{data}: each label has only one text",
            hint="Label errors are found by comparing texts of the same label",
        )


def _find_errors(
    nlp: "Language",
    records: Sequence[Record],
    gold: "Gold",
    candidates: Sequence["Features"],
    *,
    finetune: bool,
    seed: int,
    device: str,
) -> "LabelErrors":
    from trfcli_pipeline.curation.cross_fitting import assign_folds, cross_fit
    from trfcli_pipeline.curation.label_errors import NEIGHBORS, find_label_errors
    from trfcli_pipeline.curation.neighbors import find_neighbors
    from trfcli_pipeline.curation.weighted_probes import WeightedProbes

    texts = [record.text for record in records]
    folds = assign_folds(texts, gold, seed=seed)
    if not finetune:
        probes = WeightedProbes.choose(candidates, gold, folds)
        neighbors = find_neighbors(probes.features, NEIGHBORS)
        return find_label_errors(probes.predict, gold, neighbors, folds)
    from trfcli_pipeline.training.fine_tuned_folds import fine_tuning

    with fine_tuning(nlp, texts, gold, seed=seed, device=device) as fit_predict:
        scores = cross_fit(fit_predict, folds, len(gold.labels))
    neighbors = find_neighbors(candidates[0], NEIGHBORS)
    return find_label_errors(lambda _: scores, gold, neighbors, folds, rounds=1)


def _not_judged(names: Sequence[str]) -> list[str]:
    """Name the labels that couldn't be checked."""
    if not names:
        return []
    number = plural(len(names), "label", ("isn't", "aren't"))
    return [
        f"{number} checked, because too few different texts have {agree(len(names), 'it', 'each')}"
        f": {enumeration(names)}"
    ]


def _warnings(meta: dict[str, Any], data: DataSource, model: str) -> list[str]:
    """Warn if the encoder was trained on the same files, and so has seen their labels."""
    from trfcli_pipeline.training.provenance import digest_files

    origin = read_origin(meta)
    training = origin["training"] or {}
    if training.get("chosen", {}).get("freeze_encoder"):
        return []
    digests = training.get("data", {})
    # Earlier versions recorded the files without their roles.
    trained_on = training.get("data_roles", {}).get("train", digests)
    seen = {digests.get(name) for name in trained_on}
    if seen.isdisjoint(digest_files(data).values()):
        return []
    encoder = origin["encoder"].get("name")
    return [
        f"{model} was trained on these texts: its encoder has learned their labels, wrong ones "
        f"too, so errors are harder to find. Use the encoder as it was before training"
        f"{f', {encoder},' if encoder else ''} with --model"
    ]
