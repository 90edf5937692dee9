"""The Data Docs page of a validation result as one self-contained file, the same bytes for the same result.

Great Expectations' own renderer and section templates are used; only the frame around them is ours. Theirs loads styles and
scripts from nine servers, stamps times and random ids, and puts cells into the page unescaped.
"""

from __future__ import annotations

import html
import re
from itertools import count
from typing import Any

_FRAME = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Checks: {{ expectation_suite_name | e }}</title>
<style>
body { font: 15px/1.45 system-ui, sans-serif; color: #222; background: #fff; max-width: 1100px; margin: 0 auto; padding: 1.5rem; }
h5 { font-size: 1.1rem; margin: 0; } h6 { font-size: .95rem; margin: .6rem 0 .2rem; } .h6 { font-weight: 600; }
.alert { background: #eef1f4; border-radius: 6px; padding: .7rem 1rem; }
table { border-collapse: collapse; width: 100%; margin: .5rem 0; }
td, th { border-bottom: 1px solid #ddd; padding: .4rem .6rem; text-align: left; vertical-align: top; }
table table { width: auto; font-size: .9em; }
td td, td th { border: 1px solid #ddd; white-space: pre-wrap; word-break: break-word; }
.ge-section { margin-bottom: 1.2rem; }
.text-danger { color: #b3261e; } .text-success { color: #1a7f37; } .text-warning { color: #9a6700; }
.badge { background: #e3e7eb; border-radius: 4px; padding: 0 .3rem; font-family: monospace; }
.fas.text-success::before { content: "✔"; } .fas.text-danger::before { content: "✘"; } .fas.text-warning::before { content: "!"; }
.cooltip .top { display: none; } .cooltip:hover .top { display: inline; color: #555; }
ul { padding-left: 1.2rem; } code { word-break: break-all; } [hidden] { display: none; }
@media (prefers-color-scheme: dark) {
  body { background: #16181b; color: #ddd; } .alert, .badge { background: #24282d; }
  td, th, td td, td th { border-color: #3a3f45; }
}
</style>
</head>
<body>
{% for section in sections %}{% set section_loop = loop -%}{% include 'section.j2' %}{% endfor %}
{% if notes %}<h5 class="alert">Why these must hold</h5>
<dl>{% for what, why in notes %}<dt>{{ what | e }}</dt><dd>{{ why | e }}</dd>{% endfor %}</dl>{% endif %}
</body>
</html>
"""
_FOLDED = """{% set content_block_id = content_block_id ~ "-folded" %}<details><summary>{{ content_block.get(
"collapse_toggle_link", "Show more…") | render_content_block }}</summary>
{% for block in content_block["collapse"] %}
{{ block | render_content_block(content_block_id=content_block_id ~ "-" ~ loop.index) }}
{% endfor %}</details>
"""


def render_page(validation: dict[str, Any]) -> str:
    """HTML of a suite's validation result given as its JSON dict (see suite.py, which has freed it of times and ids)."""
    from great_expectations.core.expectation_validation_result import expectationSuiteValidationResultSchema
    from great_expectations.render.renderer import ValidationResultsPageRenderer

    safe = {**validation, "results": [{**one, "result": _escaped(one["result"])} for one in validation["results"]]}
    document = ValidationResultsPageRenderer(run_info_at_end=True).render(
        expectationSuiteValidationResultSchema.load(safe)
    )
    document.sections.pop()  # "Run Info": names and times of the run, kept in MLflow
    page = _view().render(document, notes=_notes(validation))
    page = re.sub(r'<a href="(?:\.\./)+expectations/[^"]*" *>(.*?)</a>', r"\1", page)
    return "\n".join(line.rstrip() for line in page.splitlines() if line.strip()) + "\n"


def _notes(validation: dict[str, Any]) -> list[tuple[str, str]]:
    """(expectation of column, its notes): Great Expectations keeps notes but shows none in this page."""
    configs = [one["expectation_config"] for one in validation["results"]]
    return [
        (f"{config['type']} {config['kwargs'].get('column', '')}".strip(), str(config["notes"]))
        for config in configs
        if config.get("notes")
    ]


def _view() -> Any:
    from great_expectations.render.view import DefaultJinjaPageView
    from jinja2 import ChoiceLoader, DictLoader

    view = DefaultJinjaPageView()
    frame = DictLoader({"page.j2": _FRAME, "collapse.j2": _FOLDED})
    view.env.loader = ChoiceLoader([frame, view.env.loader])
    numbers = count(1)
    view.env.filters["generate_html_element_uuid"] = lambda prefix="": f"{prefix}{next(numbers)}"
    return view


def _escaped(value: Any) -> Any:
    """Every string of a result, escaped: cells come from data that nobody vouches for."""
    if isinstance(value, str):
        return html.escape(value, quote=False)
    if isinstance(value, dict):
        return {_escaped(key): _escaped(item) for key, item in value.items()}
    return [_escaped(item) for item in value] if isinstance(value, list) else value
