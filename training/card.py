"""The model card, written from the manifest's facts."""

from typing import Any

from model.artefact import Manifest
from training.calibrate import COVERAGE

INTENDED_USE = """\
Research and education. It outlines the optic disc and the optic cup on colour fundus photographs and computes the
cup-to-disc ratio. It is not a medical device, it makes no diagnosis, and no clinical decision may rest on it. The
training photographs come under terms that allow research and education only (below): that holds for these weights too.
The code around them is Apache-2.0."""

LIMITS = """\
- The ratio depends on where an annotator sees the cup's edge. Experts differ from each other by 0.03 to 0.08 on
  average, and from source to source by more; the network answers in a mixture of its sources' conventions.
- The vertical interval was calibrated on photographs of the sources below, not on yours. On a new source it may cover
  less than it says; measure it on photographs of your own before you rely on it.
- The training photographs come from Spain, India, China, Germany and the Netherlands. No data on age, sex or ethnicity
  of the patients went into the choice or the figures.
- Never tested: handheld and smartphone cameras, ultra-wide fields, children, media opacities, high myopia as a group,
  disc drusen, tilted discs, papilloedema, photographs after surgery.
- Where peripapillary atrophy is bright, the disc may be drawn too large; where vessels hide the cup's edge, the cup is
  a guess.
- One photograph carries no depth: the cup is read from colour and vessels alone."""


def write_card(manifest: Manifest) -> str:
    """Markdown: use, data and terms, figures per source, limits, how it was made."""
    training = manifest.training
    minutes = sum(training["seconds"].values()) / 60
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
        "## Figures",
        "",
        "Whole way from file to mask, native pixels, no oracle crop; every photograph counts, refused ones too. In",
        "brackets the 95 % bootstrap interval of the mean over photographs.",
        "",
        "| source | how | n | disc Dice | cup Dice | vCDR mean abs. error | bias | discs missed | not gradable |",
        "|---|---|---|---|---|---|---|---|---|",
        *(_figure_row(row) for row in manifest.metrics),
        "",
        "The limits of what is gradable, and the interval, were set on these same held-out photographs; Dice and",
        "errors do not depend on them, the counts of refusals do.",
        "",
    ]
    if calibration:
        widths = ", ".join(f"{source} ± {width:.3f}" for source, width in calibration["half_widths"].items())
        lines += [
            f"Vertical interval: ± {calibration['vertical_half_width']:.3f} for {calibration['coverage']:.0%}: "
            f"{calibration['method']} ({calibration['widest_source']}). By source: {widths}.",
            "",
            *_coverage(manifest),
        ]
    lines += [
        "## Limits",
        "",
        LIMITS,
        "",
        "## How it was made",
        "",
        f"`{training['command']}`, preset `{training['preset']['name']}`, seed {training['preset']['seed']}, "
        f"{minutes:.0f} minutes of training on {training['device']}.",
    ]
    return "\n".join(lines) + "\n"


def _coverage(manifest: Manifest) -> list[str]:
    """What an interval that was calibrated without a source covered on it."""
    return [
        f"Calibrated on other sources alone, the interval of the run without {row['source']} covered only "
        f"{row['interval_coverage']:.0%} of its {row['photographs']} photographs: its annotators draw other cups.\n"
        for row in manifest.metrics
        if row["how"] == "left out of another run" and row.get("interval_coverage", 1) < COVERAGE
    ]


def _source_row(row: dict[str, Any]) -> str:
    cells = [row[k] for k in ("name", "trained_on", "cups_annotated", "held_out", "left_out", "terms", "citation")]
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def _figure_row(row: dict[str, Any]) -> str:
    def mean(name: str) -> str:
        if name not in row:
            return "–"
        low, high = row[f"{name}_95"]
        return f"{row[name]:.3f} ({low:.3f}–{high:.3f})"

    bias = f"{row['vertical_bias']:+.3f}" if "vertical_bias" in row else "–"
    cells = [row["source"], row["how"], row["photographs"], mean("disc_dice"), mean("cup_dice"), mean("vertical_mae")]
    return "| " + " | ".join(str(c) for c in [*cells, bias, row["discs_missed"], row["not_gradable"]]) + " |"
