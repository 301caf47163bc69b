"""The Node scripts of the browser client's folder, as far as they are installed."""

import asyncio
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

CLIENT = Path(__file__).parents[2] / "client"
BUILD = CLIENT.parent / "graphql_app" / "static"
PLAYGROUND = BUILD / "playground.html"
CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")


def need(missing: str) -> None:
    """Skips a test for want of something; in CI nothing may be missing."""
    if os.environ.get("CI") == "true":
        pytest.fail(missing)
    pytest.skip(missing)


def need_node() -> None:
    if shutil.which("node") is None:
        need("Node is missing; install version 20.19 or newer.")
    if not (CLIENT / "node_modules").is_dir():
        need("The npm packages are missing; `make setup` installs them.")


def need_chromium() -> None:
    if not Path(CHROMIUM).exists():
        need("Chromium is missing; install it, and set CHROMIUM to its path if that is unusual.")


def need_playground() -> None:
    if not PLAYGROUND.is_file():
        need("The playground was not built; `make setup` builds it.")


async def run_script(name: str, *arguments: str, options: object = None) -> Any:
    """What a script of client/conformance prints.

    Args:
        options: what it reads from its standard input, as JSON.
    """
    process = await asyncio.create_subprocess_exec(
        "node",
        str(CLIENT / "conformance" / name),
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, error = await process.communicate(json.dumps(options).encode())
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, error.decode()
    return json.loads(out)
