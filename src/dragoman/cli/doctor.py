"""`dragoman doctor`: looks at everything a server needs, changes nothing, and spends nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec
import typer

from dragoman.cli.terminal import ConfigOption, DataDirOption, JsonOption, err, out, print_json

if TYPE_CHECKING:
    from dragoman.config import Config

Verdict = Literal["ok", "warning", "fault"]

_SIGNS: dict[Verdict, tuple[str, str]] = {
    "ok": ("✓", "green"),
    "warning": ("!", "yellow"),
    "fault": ("✗", "red"),
}


class Finding(msgspec.Struct, frozen=True):
    check: str
    verdict: Verdict
    message: str
    remedy: str | None = None
    """What to do about it; never absent on a fault."""


class Report(msgspec.Struct, frozen=True):
    ok: bool
    findings: list[Finding]


def doctor(
    as_json: JsonOption = False, config: ConfigOption = None, data_dir: DataDirOption = None
) -> None:
    """Check the installation, the configuration and the providers, and say how to mend each fault.

    Nothing is changed and nothing is spent. Exit code 1 when there is a fault.
    """
    findings: list[Finding] = []
    with err().status("Looking …"):
        _look(findings, config, data_dir)
    report = Report(all(finding.verdict != "fault" for finding in findings), findings)
    if as_json:
        print_json(report)
    else:
        _show(findings)
    if not report.ok:
        raise typer.Exit(1)


def _look(findings: list[Finding], path: Path | None, data_dir: Path | None) -> None:
    from dragoman.cli import checks
    from dragoman.config import ConfigError, load_config

    findings.append(checks.python_version())
    findings.extend(checks.packages())
    findings.extend(checks.native_parts())
    try:
        config = load_config(path, {} if data_dir is None else {"data_dir": str(data_dir)})
    except ConfigError as error:
        findings.append(
            Finding("configuration", "fault", str(error), "correct it; see: dragoman config docs")
        )
        return
    findings.extend(_of_config(config))
    findings.append(checks.data_dir(config))
    findings.append(checks.database(config))
    findings.append(checks.keys(config))
    findings.extend(checks.local_models(config))
    findings.extend(checks.over_the_network(config))


def _of_config(config: Config) -> list[Finding]:
    if config.warnings:
        return [Finding("configuration", "warning", text) for text in config.warnings]
    source = "only defaults" if config.path is None else str(config.path)
    return [Finding("configuration", "ok", f"{source}, sound")]


def _show(findings: list[Finding]) -> None:
    from rich.text import Text

    console = out()
    for finding in findings:
        sign, style = _SIGNS[finding.verdict]
        console.print(Text(sign, style), Text(finding.check, "bold"), finding.message)
        if finding.remedy is not None and finding.verdict != "ok":
            console.print("  →", finding.remedy)
    faults = sum(finding.verdict == "fault" for finding in findings)
    warnings = sum(finding.verdict == "warning" for finding in findings)
    if faults or warnings:
        console.print(f"{_count(faults, 'fault')}, {_count(warnings, 'warning')}.")
    else:
        console.print("All is well.")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
