"""What came out of the paper's experiment, as Markdown, beside what was known and with every difference."""

import dataclasses
import json
from pathlib import Path

from training.metrics import bootstrap_interval
from training.paper import Judged, Paper, PaperSource, Repeated
from training.whole_file import whole_file

NOTEBOOK = "the authors' published notebook (github.com/javicivit/TPU-UNET, TPU_U_Net_Cup_Disc_Segmentation.ipynb)"
NEAR = 0.9  # a radii ratio, the smaller over the larger, from which the paper counts a radius as right
ALWAYS = (
    "RIM-ONE: where the source is RIM-ONE DL, its crops around the disc with outlines of some 16 points; originally "
    "the left halves of RIM-ONE r3's stereo pairs with r3's own masks.",
    "Drishti-GS1: the photographs of the folder as they are; originally a smaller copy by Sevastopolsky 2017. Cup and "
    "disc are where two of four experts agree; with which threshold that copy was made is not known.",
    "The split draws from another order of the photographs, so other ones are in the test.",
    "Every training photograph of a source trains as often as its `repeats` say, and no test photograph does. In "
    f"{NOTEBOOK}, as of commit 25c5f1b, the array of Drishti-GS1's training photographs is overwritten by three copies "
    "of its test photographs: its 3160 rows are 20 × (3 × 13 + 119). Whether the known results come from that version "
    "we cannot tell; if so, those on Drishti-GS1 are of photographs that were trained on.",
    "−log Dice of each photograph; originally of the whole batch at once.",
    "Momentum of batch normalisation 0.9; originally Keras' 0.99.",
    "Dropout in the bottom block is the 0.65 that the notebook shows for 64/5/1.6; what the others had is not known.",
    "The second equalisation has limits 0.02 and 0.04; that version of the notebook has 0.2 and 0.4.",
    "Keras 3; originally the Keras inside TensorFlow 1.13.",
)


def write_report(repeated: Repeated, original: Paper, command: str, out: Path) -> str:
    """Write paper.md, paper.json and photographs.csv into a folder; answers with the Markdown.

    Args:
        original: the paper's own set-up, whole.
    Raises:
        CannotWrite.
    """
    text = as_markdown(repeated, original, command)
    rows = ["output,source,id,dice,radii_ratio"]
    rows += [
        f"{each.output},{each.source},{each.id},{each.dice:.4f},{each.radii_ratio:.4f}" for each in repeated.judged
    ]
    for name, content in (
        ("paper.md", text),
        ("photographs.csv", "\n".join(rows) + "\n"),
        ("paper.json", json.dumps(dataclasses.asdict(repeated), indent=1) + "\n"),
    ):
        with whole_file(out / name) as partial:
            partial.write_text(content, encoding="utf-8")
    return text


def as_markdown(repeated: Repeated, original: Paper, command: str) -> str:
    """Figures by output and source, the known ones beside them, then the differences."""
    paper = repeated.paper
    lines = [
        "# The paper's experiment again",
        "",
        f"Civit-Masot et al. 2019, doi 10.1109/ACCESS.2019.2944692, network {paper.network}, {paper.steps} steps of "
        f"{paper.batch_size} photographs, on {repeated.device}: `{command}`",
        "",
        "Oracle crops: the cup is looked for in the disc's annotated box. Mean Dice on the network's own grid, in "
        "brackets the 95 % bootstrap interval over photographs.",
        "",
        "| output | source | trained on | tested on | Dice | radius within 10 % | known (photographs) | training |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for output in paper.outputs:
        for source, (training, test) in repeated.counts.items():
            some = [each for each in repeated.judged if (each.output, each.source) == (output, source)]
            low, high = bootstrap_interval([each.dice for each in some])
            mean = sum(each.dice for each in some) / len(some)
            known = [
                f"{each.dice} ({each.photographs})"
                for each in paper.known
                if (each.output, each.source) == (output, source)
            ]
            lines.append(
                f"| {output} | {source} | {training} | {test} | {mean:.3f} ({low:.3f}–{high:.3f}) | "
                f"{sum(map(_right, some)) / len(some):.0%} | {', '.join(known) or '–'} | "
                f"{repeated.seconds[output] / 60:.1f} min |"
            )
    lines += ["", "## What differs from the original", "", *(f"- {text}" for text in _differences(paper, original))]
    return "\n".join(lines) + "\n"


def _right(each: Judged) -> bool:
    ratio = each.radii_ratio
    return min(ratio, 1 / ratio) > NEAR if ratio else False


def _differences(paper: Paper, original: Paper) -> list[str]:
    told = []
    for field in dataclasses.fields(Paper):
        ours, theirs = getattr(paper, field.name), getattr(original, field.name)
        if field.name == "photographs" and ours:
            told.append(f"At most {ours} photographs of each source; originally all.")
        elif ours != theirs and field.name not in ("known", "networks"):
            told.append(f"`{field.name}` is {_short(ours)}; originally {_short(theirs)}.")
    return [*told, *ALWAYS]


def _short(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(_short, value))
    if isinstance(value, PaperSource):
        return f"{value.name} ({value.layout}, ids {value.ids}, repeats {value.repeats})"
    return str(value)
