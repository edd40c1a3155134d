"""The browser that tests of web pages run in: found, or with `python tests/browser.py` installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# Nothing that it does by itself may go to another machine; the microphone is a made-up one.
ARGUMENTS = [
    "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--no-first-run", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
]  # fmt: skip


def find() -> str | None:
    """The path of a Chromium; None where there is none."""
    known = next(filter(None, map(shutil.which, NAMES)), None)
    return known or _of_playwright()


def arguments() -> list[str]:
    """How to start it: Chromium's own sandbox does not start as root."""
    return [*ARGUMENTS, "--no-sandbox"] if _is_root() else ARGUMENTS


def install() -> int:
    """Get one: Debian's where this process may install packages, else the one that Playwright brings."""
    if find():
        return 0
    sys.stdout.write("getting Chromium, for the tests of the web page\n")
    sys.stdout.flush()
    if _is_root() and shutil.which("apt-get"):
        quiet = {"stdout": subprocess.DEVNULL, "env": {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}}
        subprocess.run(["apt-get", "update", "-q"], check=False, **quiet)  # type: ignore[call-overload]
        words = ["apt-get", "install", "-y", "-q", "--no-install-recommends", "chromium"]
        subprocess.run(words, check=False, **quiet)  # type: ignore[call-overload]
    if not find():
        subprocess.run([sys.executable, "-m", "playwright", "install", "chromium"], check=False)
    if find():
        return 0
    sys.stderr.write("no Chromium: install one (`chromium` on the PATH), then run this again\n")
    return 2


def _of_playwright() -> str | None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        path = playwright.chromium.executable_path
    return path if Path(path).is_file() else None


def _is_root() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0


if __name__ == "__main__":
    sys.exit(install())
