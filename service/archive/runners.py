"""Who executes the pipeline. By default this machine, in as many processes as it has cores."""

import logging
import re
import shlex
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from model.cores import usable_cores
from model.errors import CupDiscError, InvalidConfiguration

LOCAL = "FnApiRunner"
PRISM = "PrismRunner"
ERROR = re.compile(r"(?:^|[\s'\"])(?:[a-z_]\w*\.)+([A-Z]\w+): (.*?)(?: \[while running .*)?$", re.MULTILINE)


def checked(runner: str, options: Sequence[str]) -> str:
    """This runner's name, in our spelling where it matters to us. Beam takes any case, and leaves out "Runner".

    Raises:
        InvalidConfiguration: it would fetch a program from somewhere, or an option is written wrongly.
    """
    plain = runner.rpartition(".")[2].lower().removesuffix("runner")
    if plain in ("direct", "switchingdirect"):
        raise InvalidConfiguration(
            f"--runner {runner} is Prism in this version of Beam, a program that it downloads: "
            f"take {LOCAL}, or {PRISM} with --prism_location"
        )
    if plain == "prism" and not any(re.match("--prism_location=.", option) for option in options):
        raise InvalidConfiguration(f"{runner} is a program that Beam would download: name yours, -- --prism_location=…")
    wrong = [option for option in options if not option.startswith("--")]
    if wrong:
        raise InvalidConfiguration(f"Beam's options are written --name=value, not {' '.join(wrong)}")
    return {"fnapi": LOCAL, "prism": PRISM}.get(plain, runner)


def pipeline(runner: str, workers: int, options: Sequence[str]) -> Any:
    """An empty Beam pipeline for a runner as `checked` gives it.

    Raises:
        InvalidConfiguration: Beam is not installed, knows no such runner, lacks what it needs, or takes no such option.
    """
    if find_spec("apache_beam") is None:
        raise InvalidConfiguration("this needs Apache Beam: `make bulk`, or pip install 'cupdisc[bulk]' by itself")
    logging.disable(logging.ERROR)  # what is of interest is in the metrics, the dead letters and `cause`
    import apache_beam
    from apache_beam.options.pipeline_options import PipelineOptions

    given = ["--no_pipeline_type_check", *options]
    if runner == LOCAL:
        given.append(f"--direct_num_workers={workers}")
    try:
        return apache_beam.Pipeline(_local(workers) if runner == LOCAL else runner, options=PipelineOptions(given))
    except Exception as error:  # whatever the runner's module raises as it is imported
        raise InvalidConfiguration(f"--runner {runner}: {cause(error)}") from error


def _local(workers: int) -> Any:
    """In this process where one is enough, else in processes of their own."""
    from apache_beam.runners.portability.fn_api_runner import FnApiRunner
    from apache_beam.transforms.environments import SubprocessSDKEnvironment

    if workers == 1:
        return FnApiRunner()
    command = f"{shlex.quote(sys.executable)} -m service.archive.worker_process"
    return FnApiRunner(SubprocessSDKEnvironment.from_command_string(command))


def threads(runner: str, workers: int) -> int:
    """That each worker process gives the networks; 0: all cores of the machine that it finds itself on.

    One on other machines: Dataflow starts a process for every core of a worker (Beam asks it for
    `use_multiple_sdk_containers`), and processes that each took all cores would hold each other up.
    """
    if runner == LOCAL:
        return max(1, usable_cores() // workers)
    return 0 if runner == PRISM else 1


def cause(error: BaseException) -> str:
    """What happened, from what a runner says about it: runners pass on tracebacks of other machines."""
    if isinstance(error, CupDiscError):
        return str(error)
    ours = {kind.__name__: kind for kind in _kinds(CupDiscError)}
    found = [(name, message) for name, message in ERROR.findall(str(error)) if name in ours]
    if found:
        name, message = found[-1]
        return f"{message} ({ours[name].code})"
    if "Channel closed prematurely" in str(error):
        return "a worker's process ended: it was killed, or memory ran out"
    lines = [line for line in str(error).strip().splitlines() if line.strip()] or [type(error).__name__]
    return lines[-1][:300]


def _kinds(kind: type[CupDiscError]) -> list[type[CupDiscError]]:
    return [kind, *(each for child in kind.__subclasses__() for each in _kinds(child))]
