"""A page as headless Chromium lays it out."""

import json
import re
import shutil
import subprocess

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed: apt-get install chromium")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    " --disable-component-update --disable-sync --virtual-time-budget=2000"
).split()
PROBE = """<script>
const frame = document.getElementById("page");
frame.onload = () => {
  const page = frame.contentDocument, width = page.documentElement.clientWidth;
  const said = (node) => node.textContent.trim().slice(0, 60);
  const found = {
    width, title: page.title,
    headings: [...page.querySelectorAll("h2")].map(said),
    wide: [...page.body.querySelectorAll("*")]
      .filter((n) => n.getBoundingClientRect().right > width + 1).map((n) => n.tagName + " " + said(n)),
    empty: [...page.querySelectorAll("h2, h3")]
      .filter((n) => !said(n) || !n.nextElementSibling || !n.nextElementSibling.innerHTML.trim())
      .map(said),
  };
  const out = document.createElement("pre"); out.id = "found";
  out.textContent = JSON.stringify(found); document.body.append(out);
};
</script>"""


def laid_out(page, width, scratch):
    """`{width, title, headings, wide, empty}` of an HTML file shown `width` pixels wide; scripts of the page may run."""
    (scratch / "copy.html").write_text(page.read_text(encoding="utf-8"), encoding="utf-8")
    frame = f'<iframe id="page" src="copy.html" style="width:{width}px;height:2000px;border:0"></iframe>'
    (scratch / "probe.html").write_text(f"<!doctype html><body>{frame}{PROBE}</body>", encoding="utf-8")
    command = [
        CHROMIUM,
        *FLAGS,
        f"--user-data-dir={scratch / 'profile'}",
        "--allow-file-access-from-files",
        "--dump-dom",
    ]
    done = subprocess.run(
        [*command, f"file://{scratch / 'probe.html'}"], capture_output=True, text=True, timeout=90, check=True
    )
    found = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.S)
    assert found, done.stdout[-500:] + done.stderr[-500:]
    return json.loads(found[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
