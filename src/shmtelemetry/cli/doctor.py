"""shmtel doctor"""

import json
from dataclasses import asdict

import click

from . import options, settings


@click.command("doctor")
@options.setting("--namespace", metavar="NS", help="Only this namespace; by default all.")
@options.as_json
@settings.file
def command(namespace: str | None, as_json: bool) -> int:
    """Look for what is wrong, and say what to do. Changes nothing.

    Looks at /dev/shm, the container, memory, the clock, limits of this process, and at each namespace: its reader,
    totals, segments, drops and definitions of metrics. Exits 1 if there is a problem, else 0.

    \b
    Keys of --json, one object a finding:
      severity        ok, note or problem
      topic           what was looked at: shm, permissions, namespaces, memory, clock, limit ..., RemoveIPC, disabled,
                      reader, state, series, metrics, drops or segments
      found           what it is like
      advice          what to do, or empty
      namespace       that it is about, or null

    \b
    Example:
      shmtel doctor
      shmtel doctor --namespace bot-a --json | jq '.[] | select(.severity == "problem")'
    """
    from ..segment import check_name
    from .findings import SEVERITIES
    from .health import Namespace
    from .machine import findings
    from .namespaces import namespaces

    if namespace is not None:
        with options.wrong_use():
            check_name("namespace", namespace)
    found = list(findings())
    for name in [namespace] if namespace else namespaces():
        found += Namespace(name).findings()
    if as_json:
        click.echo(json.dumps([asdict(one) for one in found], indent=2))
    else:
        for one in sorted(found, key=lambda one: -SEVERITIES.index(one.severity)):
            where = f"{one.namespace}: " if one.namespace else ""
            click.echo(f"{one.severity:8}{where}{one.topic}: {one.found}")
            if one.advice:
                click.echo(f"{'':8}-> {one.advice}")
    return int(any(one.severity == "problem" for one in found))
