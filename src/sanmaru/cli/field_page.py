"""The page that lists every field of the project file, made from its JSON schema."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

HEAD = """# Every field

Written by `sanmaru schema --format markdown` from the code itself. *Default* "required" means that there is none.
"""


def field_page(schema: Mapping[str, Any]) -> str:
    """Return the page as Markdown: a table per part of the project file, in the order in which they are named.

    Args:
        schema: What `project.json_schema` returns.
    """
    definitions = schema["$defs"]
    order: list[str] = []
    for option in schema["oneOf"]:
        _reach(_name(option), definitions, order)
    parts = [HEAD]
    for name in order:
        definition = definitions[name]
        if "properties" not in definition:
            continue
        summary = " ".join(definition.get("description", "").split())
        rows = [
            f"| `{field}` | {_type(value, definitions)} | {_default(field, value, definition)} "
            f"| {_cell(value.get('description', ''))} |"
            for field, value in definition["properties"].items()
        ]
        table = "\n".join(["| field | values | default | |", "| --- | --- | --- | --- |", *rows])
        parts.append(f"## {name}\n\n{summary}\n\n{table}\n" if summary else f"## {name}\n\n{table}\n")
    return "\n".join(parts)


def _reach(name: str, definitions: Mapping[str, Any], order: list[str]) -> None:
    if name in order:
        return
    order.append(name)
    for other in _references(definitions[name]):
        _reach(other, definitions, order)


def _references(node: Any) -> list[str]:
    if isinstance(node, Mapping):
        own = [_name(node)] if "$ref" in node else []
        return own + [name for key, value in node.items() if key != "discriminator" for name in _references(value)]
    return [name for value in node for name in _references(value)] if isinstance(node, list) else []


def _name(node: Mapping[str, Any]) -> str:
    return str(node["$ref"]).rsplit("/", 1)[-1]


def _type(node: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    if "$ref" in node:
        name = _name(node)
        return (
            f"[{name}](#{name.lower()})" if "properties" in definitions[name] else _type(definitions[name], definitions)
        )
    if "const" in node:
        return f"`{node['const']}`"
    if "enum" in node:
        return ", ".join(f"`{value}`" for value in node["enum"])
    for key in ("anyOf", "oneOf"):
        if key in node:
            return " or ".join(dict.fromkeys(_type(option, definitions) for option in node[key]))
    if node.get("type") == "array":
        inner = node.get("items")
        return f"list of {_type(inner, definitions)}" if inner else "list"
    if node.get("type") == "object":
        inner = node.get("additionalProperties")
        return f"names to {_type(inner, definitions)}" if isinstance(inner, Mapping) and inner else "mapping"
    return _bounds(str(node.get("type", "any")), node)


def _bounds(kind: str, node: Mapping[str, Any]) -> str:
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    limits = [f"{sign} {node[key]:g}" for key, sign in signs.items() if key in node]
    return f"{kind} {', '.join(limits)}".strip()


def _default(field: str, node: Mapping[str, Any], definition: Mapping[str, Any]) -> str:
    if field in definition.get("required", ()):
        return "required"
    value = node.get("default")
    if isinstance(value, Mapping | list) and value:
        return "see there" if isinstance(value, Mapping) else f"`{json.dumps(value, ensure_ascii=False)}`"
    return f"`{json.dumps(value, ensure_ascii=False)}`" if value not in (None, [], {}, "") else "none"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
