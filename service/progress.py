"""How far a bulk run has come: a bar with rate and time left on a terminal, a line now and then elsewhere."""

import contextlib
import time
from collections.abc import Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.text import Text

from service.bulk import Progress, Run

LINE_EVERY_S = 30.0


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        """Photographs per second of late."""
        return Text(f"{task.speed:.1f}/s" if task.speed else "")


@contextlib.contextmanager
def shown(run: Run, console: Console) -> Iterator[Iterator[Progress]]:
    """The run's own iterator; what has been done in it is shown on the console."""
    if run.continued:
        console.print(f"{run.continued} of {run.total} were done before", highlight=False)
    if not console.is_terminal:
        yield _lines(run, console)
        return
    columns = (TextColumn("Segmenting"), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn())
    with Bar(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=run.total, completed=run.continued)

        def moving() -> Iterator[Progress]:
            for each in run:
                bar.advance(task)
                yield each

        yield moving()


def _lines(run: Run, console: Console) -> Iterator[Progress]:
    began = told = time.monotonic()
    for each in run:
        now = time.monotonic()
        if now - told >= LINE_EVERY_S:
            told = now
            rate = (run.done - run.continued) / (now - began)
            left = time.strftime("%H:%M:%S", time.gmtime((run.total - run.done) / rate))
            console.print(
                f"{run.done} of {run.total}, {rate:.1f}/s, {left} left, {run.failed} could not be used", highlight=False
            )
        yield each
