"""What the documentation takes from the code while MkDocs builds it, so that no page can be out of date.

A line `<!-- made: NAME -->` in a page gives way to what `MAKERS[NAME]` writes. Figures are made here too.
"""

import re
from collections.abc import Callable

import figures
import reference
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

MAKERS: dict[str, Callable[[], str]] = {
    "answer": figures.answer,
    "api": reference.api,
    "columns": reference.columns,
    "archive-columns": reference.archive_columns,
    "commands": reference.commands,
    "card": reference.card,
    "errors": reference.errors,
    "figures of the version": reference.figures_of_the_version,
    "numbers": figures.numbers,
    "presets": reference.presets,
    "layouts": reference.layouts,
    "sectors": figures.sectors,
    "settings": reference.settings,
    "tests": reference.tests,
}
MADE = re.compile(r"^<!-- made: (.+) -->$", re.MULTILINE)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the figures."""
    for name, content in figures.make().items():
        files.append(File.generated(config, f"pictures/made/{name}.png", content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Fill in what is made."""
    return MADE.sub(lambda found: MAKERS[found[1]](), markdown)
