"""The OpenAPI description as a page that needs no other machine, no script and no font from anywhere."""

from __future__ import annotations

import html
import json

from flywheel.project.types import Json

PAGE_HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1c1c1c; }
h2 { border-top: 1px solid #ddd; padding-top: 1rem; text-transform: none; }
summary { cursor: pointer; padding: .3rem 0; }
code, pre { font: 14px/1.45 ui-monospace, monospace; }
pre { background: #f5f5f5; padding: .8rem; overflow-x: auto; border-radius: 4px; }
.method { display: inline-block; min-width: 3.6rem; font-weight: 600; color: #0b5394; }
.about { color: #555; }
@media (prefers-color-scheme: dark) {
  body { background: #181818; color: #e6e6e6; } pre { background: #242424; } .about { color: #aaa; }
  .method { color: #8ab8e6; } a { color: #8ab8e6; } h2 { border-color: #333; }
}
"""


def render(api: Json) -> str:
    """Make the page.

    Args:
        api: The OpenAPI description.
    """
    groups: dict[str, list[str]] = {}
    for path, operations in api["paths"].items():
        for method, operation in operations.items():
            tag = (operation.get("tags") or ["other"])[0]
            groups.setdefault(tag, []).append(_operation(method, path, operation, api))
    title = html.escape(f"{api['info']['title']} {api['info']['version']}")
    parts = [f"<h2>{html.escape(tag)}</h2>\n{''.join(operations)}" for tag, operations in groups.items()]
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head><body><h1>{title}</h1>'
        '<p>The same as data: <a href="/openapi.json">/openapi.json</a> (OpenAPI). '
        'For Prometheus: <a href="/metrics">/metrics</a>.</p>'
        f"{''.join(parts)}</body></html>"
    )


def _operation(method: str, path: str, operation: Json, api: Json) -> str:
    about = html.escape(operation.get("description") or operation.get("summary") or "")
    shown = [
        f'<details><summary><span class="method">{method.upper()}</span> <code>{html.escape(path)}</code> '
        f'<span class="about">{about}</span></summary>'
    ]
    for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
        shown.append(_schema(f"Send {media_type}", content.get("schema", {}), api))
    for media_type, content in operation["responses"].get("200", {}).get("content", {}).items():
        shown.append(_schema(f"Receive {media_type}", content.get("schema", {}), api))
    return "".join([*shown, "</details>\n"])


def _schema(title: str, schema: Json, api: Json) -> str:
    text = json.dumps(_resolved(schema, api), indent=2, ensure_ascii=False)
    return f"<p>{html.escape(title)}</p><pre>{html.escape(text)}</pre>"


def _resolved(schema: object, api: Json) -> object:
    """The schema with what it refers to in its place; no schema here refers to itself."""
    if isinstance(schema, dict):
        if "$ref" in schema:
            name = str(schema["$ref"]).rpartition("/")[2]
            return _resolved(api["components"]["schemas"][name], api)
        return {key: _resolved(value, api) for key, value in schema.items()}
    if isinstance(schema, list):
        return [_resolved(item, api) for item in schema]
    return schema
