"""`graphql-app doctor`: whether a server with these settings, on this machine, is fit to run.

    configuration   the settings, and whether they fit each other
    access          who may come in
    store           what it is like; nothing in it is changed
    model           who answers
    machine         limits, clock, port, pages

Each of these yields findings, which are told in a sentence with what to do. Nothing that is told
is a secret.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

from graphql_app.doctor import access, configuration, machine, model, store
from graphql_app.doctor.findings import Finding, Level, as_json, as_text, exit_status

__all__ = ["Finding", "Level", "as_json", "as_text", "examine", "exit_status"]


def examine(given: Mapping[str, Any], *, calls: bool = False) -> list[Finding]:
    """Everything that is found, by area.

    Args:
        given: settings of the command line, by field name; None means not given.
        calls: whether the model is asked something, which may cost a little.
    """
    settings, findings = configuration.read(given)
    if settings is None:
        return findings

    async def outside() -> list[Finding]:
        return [
            *[finding async for finding in store.examine(settings)],
            *[finding async for finding in model.examine(settings, calls=calls)],
        ]

    findings += configuration.examine(settings)
    findings += access.examine(settings)
    findings += asyncio.run(outside())
    if exit_status(findings) < 2:  # What is wrong with one part was said there.
        findings.append(configuration.together(settings))
    findings += machine.examine(settings)
    areas = list(dict.fromkeys(finding.name.partition(".")[0] for finding in findings))
    return sorted(findings, key=lambda finding: areas.index(finding.name.partition(".")[0]))
