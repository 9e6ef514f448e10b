"""Who executes the pipeline. By default this machine, in as many processes as it has cores."""

import re
from collections.abc import Sequence
from typing import Any

from model.engines import usable_cores
from model.errors import CupDiscError, InvalidConfiguration

LOCAL = "FnApiRunner"
PRISM = "PrismRunner"
ERROR = re.compile(r"(?:^|[\s'\"])(?:[a-z_]\w*\.)+([A-Z]\w+): (.*?)(?: \[while running .*)?$", re.MULTILINE)


def check(runner: str, options: Sequence[str]) -> None:
    """Whether this runner can be taken.

    Raises:
        InvalidConfiguration: it would fetch a program from somewhere, or Beam does not know such an option.
    """
    if runner == "DirectRunner":
        raise InvalidConfiguration(
            f"--runner DirectRunner is Prism in this version of Beam, a program that it downloads: "
            f"take {LOCAL}, or {PRISM} with --prism_location"
        )
    if runner == PRISM and not any(option.startswith("--prism_location=") for option in options):
        raise InvalidConfiguration(f"{PRISM} is a program that Beam would download: name yours, -- --prism_location=…")
    wrong = [option for option in options if not option.startswith("--")]
    if wrong:
        raise InvalidConfiguration(f"Beam's options are written --name=value, not {' '.join(wrong)}")


def pipeline(runner: str, workers: int, options: Sequence[str]) -> Any:
    """An empty Beam pipeline for a runner that passed `check`."""
    import apache_beam
    from apache_beam.options.pipeline_options import PipelineOptions

    kind: Any = runner
    given = list(options)
    if runner == LOCAL:
        from apache_beam.runners.portability.fn_api_runner import FnApiRunner

        kind = FnApiRunner()
        mode = "in_memory" if workers == 1 else "multi_processing"
        given += [f"--direct_running_mode={mode}", f"--direct_num_workers={workers}"]
    return apache_beam.Pipeline(kind, options=PipelineOptions(["--no_pipeline_type_check", *given]))


def threads(runner: str, workers: int) -> int:
    """That each worker process gives the networks; 0: all cores of the machine that it finds itself on."""
    return max(1, usable_cores() // workers) if runner == LOCAL else 0


def cause(error: BaseException) -> str:
    """What happened, from what a runner says about it: runners pass on tracebacks of other machines."""
    if isinstance(error, CupDiscError):
        return str(error)
    ours = {kind.__name__: kind for kind in _kinds(CupDiscError)}
    found = [(name, message) for name, message in ERROR.findall(str(error)) if name in ours]
    if found:
        name, message = found[-1]
        return f"{message} ({ours[name].code})"
    lines = [line for line in str(error).strip().splitlines() if line.strip()] or [type(error).__name__]
    return lines[-1][:300]


def _kinds(kind: type[CupDiscError]) -> list[type[CupDiscError]]:
    return [kind, *(each for child in kind.__subclasses__() for each in _kinds(child))]
