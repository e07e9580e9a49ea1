"""Opens a page in Chromium and tells what is wrong with it. Nothing but the standard library."""

import html
import json
import re
import shutil
import subprocess

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
MISSING = "needs Chromium: apt-get install chromium"
_POLICY = "default-src 'none';"
_SCRIPT = """<script>
const seen = [];
addEventListener("error", e => seen.push("error: " + (e.message || e.target.outerHTML)), true);
addEventListener("securitypolicyviolation", e => seen.push("forbidden: " + e.blockedURI));
addEventListener("load", () => {
  for (const image of document.images)
    if (!(image.complete && image.naturalWidth > 0)) seen.push("not decoded: " + image.alt);
  for (const entry of performance.getEntriesByType("resource"))
    seen.push("requested: " + entry.name);
  const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  if (wide > 0) seen.push("scrolls sideways: " + wide + " pixels");
  document.body.dataset.images = document.images.length;
  document.body.dataset.seen = JSON.stringify(seen);
});
</script>"""


def complaints(page, folder):
    """How many images a page has, and what is wrong with it: images that cannot be decoded, errors
    of scripts, of the console and of its own policy, requests, and whether it scrolls sideways on a
    narrow screen.

    What opens is a copy with a script that looks around, which the policy then has to allow.
    """
    text = page.read_text(encoding="utf-8")
    assert text.count("<head>") == 1
    text = text.replace("<head>", "<head>" + _SCRIPT)
    copy = folder / "copy.html"
    copy.write_text(text.replace(_POLICY, _POLICY + " script-src 'unsafe-inline';"), "utf-8")
    command = [
        *(BROWSER, "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run"),
        *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
        *("--disable-dev-shm-usage", f"--user-data-dir={folder / 'profile'}"),
        *("--window-size=500,900", "--enable-logging=stderr", "--v=0", "--dump-dom"),
    ]
    done = subprocess.run(
        [*command, copy.as_uri()], capture_output=True, encoding="utf-8", timeout=120
    )
    found = {
        name: html.unescape(value)
        for name, value in re.findall(r' data-(images|seen)="([^"]*)"', done.stdout)
    }
    assert found.keys() == {"images", "seen"}, done.stderr[-2000:]
    console = re.findall(r"INFO:CONSOLE[^\]]*\] (.*)", done.stderr)
    return int(found["images"]), json.loads(found["seen"]) + [f"console: {c}" for c in console]
