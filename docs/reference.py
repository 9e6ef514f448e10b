"""Reference pages, as Markdown, from the code itself: OpenAPI, settings, presets, commands, errors, tests, card."""

import ast
import dataclasses
import functools
import inspect
import json
import os
import re
import textwrap
import typing
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from model.artefact import Artefact
from model.errors import CupDiscError
from model.registry import open_registry
from service import problems
from service.app import create_app
from service.settings import Settings

REPOSITORY = Path(__file__).parents[1]
NO_BREAK = "&#8288;"
COMMENT = re.compile(r"^    (\w+): [^#\n]*(?:# *(.*))?$", re.MULTILINE)


@functools.cache
def version() -> Artefact:
    """The version that ships with the package, or the one that `CUPDISC_REGISTRY` and `CUPDISC_VERSION` name."""
    chosen = Settings()
    return open_registry(chosen.registry).open(chosen.version)


@functools.cache
def service() -> FastAPI:
    """The service, for its OpenAPI."""
    return create_app(Settings())


BESIDE = (
    "U-Nets of another shape or training that are averaged with those of the table above: all keys of that table but "
    "`sources`, `told` and `answer`, with `network` and `augmentation` of their own. `beside = false` drops what an "
    "extended preset has there."
)


# --- settings and presets: a field's comment is its description


def settings() -> str:
    """A table of every setting."""
    comments = comments_of(Settings)
    rows = [
        (f"`CUPDISC_{name.upper()}`", f"`{field.default}`", _meaning(comments[name], field.annotation, field.metadata))
        for name, field in Settings.model_fields.items()
    ]
    return table(("variable", "default", "meaning"), rows)


def presets() -> str:
    """Every key of a training preset."""
    from model.unet_config import UNetConfig
    from training.augment import Augmentation
    from training.config import NetworkConfig, Preset, SourceConfig

    parts = (
        ("The run", "At the top of the file.", Preset),
        ("`[[sources]]`", "Once for each source.", SourceConfig),
        ("`[locator]` and `[segmenter]`", "", NetworkConfig),
        ("`[locator.network]` and `[segmenter.network]`", "The shape of a U-Net.", UNetConfig),
        ("`[locator.augmentation]` and `[segmenter.augmentation]`", "How strongly samples vary.", Augmentation),
        ("`[locator.beside]` and `[segmenter.beside]`", BESIDE, None),
    )
    out = []
    for title, text, kind in parts:
        if kind is None:
            out += [f"## {title}", "", text, ""]
            continue
        comments, hints, rows = comments_of(kind), typing.get_type_hints(kind), []
        for field in dataclasses.fields(kind):
            if dataclasses.is_dataclass(hints[field.name]) or "Config" in str(hints[field.name]):
                continue  # a table of its own
            if field.name == "name" and kind is Preset:
                continue  # the file's
            missing = field.default is dataclasses.MISSING
            made = field.default_factory is not dataclasses.MISSING
            default = ("empty" if made else "needed") if missing else f"`{json.dumps(field.default)}`"
            meaning = _meaning(comments[field.name], hints[field.name], [])
            rows.append((f"`{field.name}`", default, meaning))
        out += [
            f"## {title}",
            "",
            *([text, ""] if text else []),
            table(("key", "default", "meaning"), rows),
            "",
        ]
    return "\n".join(out)


def layouts() -> str:
    """The public data sets whose official layout is read."""
    from training.sources.layouts import LAYOUTS

    rows = []
    for name, layout in LAYOUTS.items():
        options = "; ".join(f"`{key}`: {', '.join(values)}" for key, values in layout.options.items())
        rows.append((f"`{name}`", options, layout.terms, layout.citation))
    head = ("layout", "options, the default first", "terms", "please cite")
    trees = [layout_tree(name, layout.read) for name, layout in LAYOUTS.items() if name != "folder"]
    return "\n\n".join([table(head, rows), *trees])


def layout_tree(name: str, read: typing.Callable[..., Any]) -> str:
    """What a layout's module says of itself: the data set, the tree below its folder, the values in its masks."""
    about, tree, *values = (inspect.getdoc(inspect.getmodule(read)) or "").split("\n\n")
    return "\n\n".join([f"### `{name}`", about, f"```text\n{textwrap.dedent(tree)}\n```", *values])


def comments_of(kind: type) -> dict[str, str]:
    """Field → the comment behind it in the class's source; empty where there is none."""
    return {name: comment or "" for name, comment in COMMENT.findall(inspect.getsource(kind))}


def _meaning(comment: str, hint: Any, metadata: list[Any]) -> str:
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    limits = [f"{sign} {getattr(one, name)}" for one in metadata for name, sign in signs.items() if hasattr(one, name)]
    kind = " ".join([_type(hint), *limits])
    if comment.partition(" ")[0].isalpha():
        comment = comment[:1].upper() + comment[1:]
    return f"{comment.rstrip('. …')}. *{kind}*" if comment else f"*{kind}*"


def _type(hint: Any) -> str:
    if typing.get_origin(hint) is typing.Literal:
        return ", ".join(f"`{value}`" for value in typing.get_args(hint))
    text = hint.__name__ if inspect.isclass(hint) and not typing.get_args(hint) else str(hint)
    words = {"str": "text", "int": "whole number", "float": "number", "bool": "true or false"}
    text = re.sub(r"typing\.|Literal\[[^]]*\]", lambda found: "name" if "[" in found[0] else "", text)
    for name, word in words.items():
        text = re.sub(rf"\b{name}\b", word, text)
    text = text.replace("dict[text, number]", "table of numbers").replace("tuple[number, number]", "two numbers")
    return re.sub(r"tuple\[(.*), \.\.\.\]", r"list of \1s", text)


# --- the command line


def commands() -> str:
    """Both commands with their options."""
    os.environ.pop("CUPDISC_SHARED", None)  # a default that would name a folder of this machine
    import typer
    from typer.cli import get_docs_for_click

    from service.cli import app as service_app
    from training.cli import app as training_app

    out = []
    for name, app in (("cupdisc", service_app), ("cupdisc-train", training_app)):
        command = typer.main.get_command(app)
        text = get_docs_for_click(obj=command, ctx=typer.Context(command, info_name=name), name=name)
        text = re.sub(r"^\*\*Commands\*\*:\n\n(\* .*\n)+", "", text, flags=re.MULTILINE)
        text = re.sub(r"^\* `--help`.*\n|^\*\*(Usage|Options|Arguments)\*\*:\n", "", text, flags=re.MULTILINE)
        text = re.sub(r"```console\n\$ (.*)\n```", r"```text\n\1\n```", text)
        out.append(re.sub(r"^(#+) ", r"#\1 ", text, flags=re.MULTILINE))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(out))


def columns() -> str:
    """What the table of results holds."""
    from service.table import COLUMNS

    return _columns(COLUMNS)


def archive_columns() -> str:
    """What the tables of an archive hold more."""
    from service.archive.rows import MORE

    return _columns(MORE)


def _columns(described: dict[str, tuple[type, str]]) -> str:
    words = {str: "text", bool: "true or false", int: "whole number", float: "number"}
    rows = [(f"`{name}`", words[kind], meaning) for name, (kind, meaning) in described.items()]
    return table(("column", "type", "meaning"), rows)


# --- the API


def api() -> str:
    """Every call of the API, then every shape."""
    schema = service().openapi()
    out = []
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            out += _operation(method, path, operation)
    out += ["## Shapes", "", "What JSON answers are made of.", ""]
    for name, shape in schema["components"]["schemas"].items():
        if "properties" in shape:
            out += [f"### {name}", "", shape.get("description", ""), "", _shape(shape), ""]
    return "\n".join(out)


def _operation(method: str, path: str, operation: dict[str, Any]) -> list[str]:
    out = [
        f"## {method.upper()} {path}",
        "",
        f"Operation `{operation['operationId']}`.",
        "",
        operation["description"],
        "",
    ]
    if operation.get("parameters"):
        out += ["**Parameters**", ""]
        for one in operation["parameters"]:
            default = f", by default `{one['schema']['default']}`" if "default" in one["schema"] else ""
            text = f"{one['in']}; {_values(one['schema'])}{default}. {one.get('description', '')}"
            out.append(f"- `{one['name']}`: {text}".rstrip())
        out.append("")
    if body := operation.get("requestBody"):
        out += ["**Body**, as one of", ""]
        plain = []
        for kind, content in body["content"].items():
            shape = content.get("schema", {})
            if "$ref" in shape:
                out.append(f"- `{kind}`: {_values(shape)}")
            elif fields := shape.get("properties", {}):
                told = "; ".join(
                    f"field `{name}`: {one.get('description', _values(one))}" for name, one in fields.items()
                )
                out.append(f"- `{kind}`, {told}")
            else:
                plain.append(f"`{kind}`")
        out += [f"- the bytes themselves, as {', '.join(plain)}", ""] if plain else [""]
        for content in body["content"].values():
            out += _examples(content, "Example of a body")
    out += ["**Answers**", ""]
    for status, answer in operation["responses"].items():
        codes = [code for content in answer.get("content", {}).values() for code in content.get("examples", {})]
        problem = problems.MEDIA_TYPE in answer.get("content", {})
        label = "any other" if status == "default" else status
        kinds = ", ".join(f"`{kind}`" for kind in answer.get("content", {}))
        if problem:
            out.append(f"- {label}: {', '.join(f'[`{code}`](#{code})' for code in codes)}")
        else:
            shape = answer.get("content", {}).get("application/json", {}).get("schema", {})
            kinds = kinds.replace("`application/json`", f"`application/json` as {_values(shape)}" if shape else "")
            out.append(f"- {label}: {kinds}. {answer['description']}")
            headers = answer.get("headers", {})
            out += [f"    - header `{name}`: {one['description']}" for name, one in headers.items()]
    out.append("")
    for answer in operation["responses"].values():
        if json_content := answer.get("content", {}).get("application/json"):
            out += _examples(json_content, "Example")
    return out


def _examples(content: dict[str, Any], title: str) -> list[str]:
    out = []
    for example in content.get("examples", {}).values():
        if isinstance(example["value"], str):
            continue
        text = compact(example["value"])
        out += [f'??? example "{title}: {example["summary"]}"', "", "    ```json"]
        out += [f"    {line}" for line in text.splitlines()]
        out += ["    ```", ""]
    return out


def _shape(shape: dict[str, Any]) -> str:
    rows = [(f"`{name}`", _values(one), one.get("description", "")) for name, one in shape["properties"].items()]
    return table(("field", "type", "meaning"), rows)


def _values(schema: dict[str, Any]) -> str:
    """A JSON schema's type in a few words."""
    words = {
        "string": "text",
        "integer": "whole number",
        "number": "number",
        "boolean": "true or false",
        "null": "`null`",
    }
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return " or ".join(dict.fromkeys(_values(one) for one in schema[key]))
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if schema.get("type") == "array":
        if "prefixItems" in schema:
            return "[" + ", ".join(_values(one) for one in schema["prefixItems"]) + "]"
        return f"list of {_values(schema.get('items', {}))}"
    if schema.get("type") == "object":
        return "object"
    text = words.get(schema.get("type", ""), "any")
    if "minimum" in schema and "maximum" in schema:
        text += f", {schema['minimum']} to {schema['maximum']}"
    return "bytes" if schema.get("format") == "binary" else text


def errors() -> str:
    """Every error's code, status and meaning."""
    answers = sorted(problems.ANSWERS.items(), key=lambda item: (item[1][0], item[0].code))
    rows = [(kind.code, status, f"{first_line(kind)} *{detail}*") for kind, (status, detail) in answers]
    rows.append(("internal_error", 500, f"A fault of ours. *{problems.UNEXPECTED}*"))
    return table(
        ("code", "status", "meaning, and an example of `detail`"),
        [(f"`{code}`{{ #{code} }}", str(status), text) for code, status, text in rows],
    )


def first_line(kind: type[CupDiscError]) -> str:
    """What an error means."""
    return (inspect.getdoc(kind) or "").splitlines()[0]


# --- the version that ships, and the tests


def card() -> str:
    """The model card, with what identifies the version."""
    text = (version().folder / "card.md").read_text(encoding="utf-8")
    title, _, rest = text.partition("\n")
    return f"{title}\n\nDigest of its `manifest.json`: `{version().digest}`\n{rest}"


def figures_of_the_version() -> str:
    """The figures on photographs that the version never saw, from its manifest."""
    rows = []
    for row in version().manifest.metrics:
        bias = f"{row['vertical_bias']:+.3f}" if "vertical_bias" in row else "–"
        coverage = f"{row['interval_coverage']:.0%}" if "interval_coverage" in row else "–"
        source = f"**{row['source']}**<br>{row['how']}, n&nbsp;=&nbsp;{row['photographs']}"
        figures = [_with_interval(row, name) for name in ("disc_dice", "cup_dice", "vertical_mae")]
        rows.append((source, *figures, bias, coverage, f"{row['discs_missed']} · {row['not_gradable']}"))
    return table(("source", "disc Dice", "cup Dice", "vCDR error", "bias", "in interval", "missed · refused"), rows)


def _with_interval(row: dict[str, Any], name: str) -> str:
    if name not in row:
        return "–"
    low, high = row[f"{name}_95"]
    return f"{row[name]:.3f}<br>{low:.3f}{NO_BREAK}–{NO_BREAK}{high:.3f}"


def tests() -> str:
    """Every test file: what it says of itself, and how many tests stand in it."""
    rows = []
    for path in sorted((REPOSITORY / "tests").rglob("test_*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        count = sum(
            isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
            for node in ast.walk(tree)
        )
        about = " ".join((ast.get_docstring(tree) or "").split("\n\n")[0].split())
        rows.append((f"`{path.relative_to(REPOSITORY).as_posix()}`", str(count), about))
    total = sum(int(row[1]) for row in rows)
    return f"{total} test functions in {len(rows)} files; many run on a list of cases.\n\n" + table(
        ("file", "tests", "about"), rows
    )


def compact(value: Any, indent: str = "", room: int = 86) -> str:
    """JSON for reading: what fits on one line stands on one line."""
    line = json.dumps(value, ensure_ascii=False)
    if len(line) <= room or not isinstance(value, dict | list) or not value:
        return line
    inner, left = indent + "  ", 86 - len(indent) - 2
    if isinstance(value, dict):
        heads = {key: f"{json.dumps(key)}: " for key in value}
        parts = [f"{inner}{heads[key]}{compact(one, inner, left - len(heads[key]))}" for key, one in value.items()]
        return "{\n" + ",\n".join(parts) + f"\n{indent}}}"
    return "[\n" + ",\n".join(inner + compact(one, inner, left) for one in value) + f"\n{indent}]"


def table(head: typing.Sequence[str], rows: typing.Sequence[typing.Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in line) + " |" for line in lines
    )
