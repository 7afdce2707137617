"""The rules as Prometheus' own tools see them, and that their unit tests notice a broken one."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
import yaml

from tests.deploy import known

PROMTOOL: Final = shutil.which("promtool")
AMTOOL: Final = shutil.which("amtool")

pytestmark = [
    pytest.mark.prometheus,
    pytest.mark.skipif(PROMTOOL is None, reason="needs promtool, of Debian's prometheus"),
]


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (PROMTOOL or "promtool", *arguments), capture_output=True, text=True, check=False
    )


def test_promtool_takes_the_rules() -> None:
    done = promtool("check", "rules", known.RULES)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_story_is_as_it_is_told() -> None:
    done = promtool("test", "rules", known.STORIES)
    assert done.returncode == 0, done.stdout + done.stderr


Change = Callable[[known.Json], None]


def never(rule: known.Json) -> None:
    """Have a rule never fire."""
    rule["expr"] = f"({rule['expr']}) and on () (vector(1) > 2)"


def always(rule: known.Json) -> None:
    """Have a rule fire whatever happens."""
    rule["expr"] = "vector(1)"
    rule.pop("for", None)


@pytest.mark.parametrize(
    ("change", "which"), [(never, "fires"), (always, "does not fire")], ids=["never", "always"]
)
def test_a_broken_rule_fails_each_of_its_stories(
    tmp_path: Path, change: Change, which: str
) -> None:
    groups = known.groups()
    for group in groups:
        for rule in group["rules"]:
            if "alert" in rule:
                change(rule)
    (tmp_path / "rules.yml").write_text(json.dumps({"groups": groups}))
    wanted = {story["name"]: story for story in known.stories() if f" {which}: " in story["name"]}
    assert len(wanted) >= len(known.alerts())
    # Each at a time that is its own, so that what failed can be told apart.
    for number, story in enumerate(wanted.values()):
        last = story["promql_expr_test"][-1]
        story["promql_expr_test"] = [{**last, "expr": f"{last['expr']} + {number} * 0"}]
    tests = {
        "rule_files": ["rules.yml"],
        "evaluation_interval": "15s",
        "tests": list(wanted.values()),
    }
    (tmp_path / "test.yml").write_text(json.dumps(tests))
    done = promtool("test", "rules", tmp_path / "test.yml")
    failed = set(re.findall(r"\+ (\d+) \* 0", done.stdout + done.stderr))
    names = list(wanted)
    assert [name for number, name in enumerate(names) if str(number) not in failed] == []


def test_promtool_takes_the_configuration(tmp_path: Path) -> None:
    text = (known.DEPLOY / "prometheus.yml").read_text("utf-8")
    token = "/etc/prometheus/turntape-token"
    assert token in text
    (tmp_path / "token").write_text("secret")
    (tmp_path / known.RULES.name).write_text(known.RULES.read_text("utf-8"))
    (tmp_path / "prometheus.yml").write_text(text.replace(token, str(tmp_path / "token")))
    done = promtool("check", "config", tmp_path / "prometheus.yml")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(AMTOOL is None, reason="needs amtool, of Debian's prometheus-alertmanager")
@pytest.mark.parametrize(
    ("severity", "receiver"), [("critical", "on-call"), ("warning", "tickets"), ("info", "nobody")]
)
def test_alertmanager_sends_each_severity_somewhere_else(severity: str, receiver: str) -> None:
    configuration = f"--config.file={known.DEPLOY / 'alertmanager.yml'}"
    labels = (f"severity={severity}", "alertname=TurntapeDown", "job=turntape")
    done = subprocess.run(
        (AMTOOL or "amtool", "config", "routes", "test", configuration, *labels),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout.strip()) == (0, receiver), done.stderr


def test_alertmanager_silences_alerts_that_there_are() -> None:
    text = (known.DEPLOY / "alertmanager.yml").read_text("utf-8")
    names = {alert["alert"] for alert in known.alerts()}
    matched = set(re.findall(r"Turntape\w+", text))
    assert matched <= names
    assert yaml.safe_load(text)["route"]["receiver"] == "tickets"
