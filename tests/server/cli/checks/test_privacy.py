"""The doctor's look at what others could get at, and the page that lists it."""

import re
from pathlib import Path

import pytest

from server.cli.checks import privacy
from server.cli.checks.findings import Finding, Status
from tests.server.cli.checks import checking
from tests.tools import redraw

KEY = "a-key-of-just-26-characters"
LONG = "0123456789abcdef0123456789abcdef"
ADMIN = "fedcba9876543210fedcba9876543210"
OPEN = {"PROXY_HOST": "0.0.0.0", "PROXY_API_KEY": LONG}


def look(tmp_path: Path, **environ: str) -> dict[str, Finding]:
    """The findings about what is open and what is kept."""
    return checking.by_name(privacy.check(checking.config(tmp_path, **environ)))


def test_by_default_all_is_well(tmp_path: Path) -> None:
    report = look(tmp_path, PROXY_WORKER="codex")
    assert {each.status for each in report.values()} == {Status.OK}
    assert report["retention"].found == "PROXY_LOG_MAX_AGE_S 7 days, PROXY_STORE_TTL_S 30 days"
    assert report["sandbox"].found == "read-only, approval never"


@pytest.mark.parametrize(
    ("name", "status", "environ"),
    [
        ("keys", Status.WARN, {**OPEN, "PROXY_API_KEY": KEY}),
        ("keys", Status.OK, OPEN),
        ("keys", Status.OK, {"PROXY_API_KEY": "short"}),
        ("admin", Status.WARN, {**OPEN, "PROXY_ADMIN_KEY": KEY}),
        ("admin", Status.OK, {**OPEN, "PROXY_ADMIN_KEY": ADMIN}),
        ("metrics", Status.WARN, {**OPEN, "PROXY_METRICS_ALLOW_UNAUTH": "true"}),
        ("metrics", Status.OK, {"PROXY_METRICS_ALLOW_UNAUTH": "true"}),
        ("metrics", Status.OK, {**OPEN, "PROXY_METRICS_TOKEN": ADMIN}),
        ("metrics", Status.OK, {"PROXY_ENABLE_METRICS": "false"}),
        ("origins", Status.FAIL, {"PROXY_CORS_ALLOWED_ORIGINS": "*"}),
        ("origins", Status.WARN, {**OPEN, "PROXY_CORS_ALLOWED_ORIGINS": "*"}),
        (
            "origins",
            Status.OK,
            {"PROXY_CORS_ALLOWED_ORIGINS": "*", "PROXY_ENABLE_CORS": "false"},
        ),
        ("testing", Status.WARN, {**OPEN, "PROXY_TEST_ENDPOINTS": "true"}),
        ("testing", Status.WARN, {"PROXY_ENV": "prod", "PROXY_TEST_ENDPOINTS": "true"}),
        ("testing", Status.OK, {"PROXY_TEST_ENDPOINTS": "true"}),
        (
            "sandbox",
            Status.WARN,
            {"PROXY_WORKER": "codex", "PROXY_SANDBOX_MODE": "danger-full-access"},
        ),
        ("contents", Status.WARN, {"PROXY_EVENT_LOG": "full"}),
        ("contents", Status.OK, {"PROXY_EVENT_LOG": "off"}),
        ("kept", Status.OK, {"PROXY_STORE": "off"}),
        ("retention", Status.WARN, {"PROXY_LOG_MAX_AGE_S": "0"}),
        ("retention", Status.WARN, {"PROXY_STORE_TTL_S": str(91 * 86_400)}),
        ("retention", Status.OK, {"PROXY_STORE_TTL_S": "3600"}),
        ("retention", Status.OK, {"PROXY_STORE": "off", "PROXY_EVENT_LOG": "off"}),
    ],
)
def test_each_setting_is_judged(
    tmp_path: Path, name: str, status: Status, environ: dict[str, str]
) -> None:
    found = look(tmp_path, **environ)[name]
    assert found.status is status, found
    assert bool(found.advice) == (status is not Status.OK)
    assert not any(each in str(found) for each in (KEY, LONG, ADMIN))


def test_the_page_lists_every_finding(tmp_path: Path) -> None:
    page = (redraw.DOCS / "security.md").read_text(encoding="utf-8")
    checklist = page.partition("\n## Checklist\n")[2].partition("\n## ")[0]
    rows = re.findall(r"(?m)^\| (`.*?) \|", checklist)
    listed = set(re.findall(r"`(\w+)`", " ".join(rows)))
    assert look(tmp_path, PROXY_WORKER="codex").keys() <= listed
    others = {"data", "logs", "home", "files"}  # of `server.cli.checks.directories`
    assert listed - look(tmp_path, PROXY_WORKER="codex").keys() == others
