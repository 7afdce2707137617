"""Checks of what others could get at: keys, doors that are open, what is kept and for how long.

They look at the settings alone; modes and owners of files are `directories`' to look at.
`docs/security.md` has the list, with the finding that answers each question.
"""

from collections.abc import Iterator
from typing import Final

from server.cli.checks.findings import Finding, fail, ok, warn
from server.config import load as configuration, settings

LONG_KEY: Final = 32
"""Characters of a key that is as good as any: 128 bits, if it is random hexadecimal."""

DAY_S: Final = 86_400

LONG_S: Final = 90 * DAY_S
"""Seconds that contents may be kept before somebody should have decided that they are."""

NEW_KEY: Final = "`openssl rand -hex 32` makes one."


def check(config: settings.Config) -> Iterator[Finding]:
    """Look at the settings as somebody who wants to get at what is not theirs."""
    is_open = not configuration.is_loopback(config.host)
    yield _keys(config, is_open)
    yield _admin(config, is_open)
    yield _metrics(config, is_open)
    yield _origins(config)
    yield _testing(config, is_open)
    if "codex" in config.workers() and config.use_app_server:
        yield _sandbox(config)
    yield _contents(config)
    yield _kept(config)
    yield _retention(config)


def _keys(config: settings.Config, is_open: bool) -> Finding:
    key = config.api_key
    if key is None:  # off loopback such a configuration is refused
        return ok("keys", "none: this machine alone can connect, and no web page of another host")
    place = f"on {config.host}"
    if is_open and len(key) < LONG_KEY:
        return warn(
            "keys", f"one of {len(key)} characters {place}", f"Take a longer one: {NEW_KEY}"
        )
    return ok("keys", f"one of {len(key)} characters {place}")


def _admin(config: settings.Config, is_open: bool) -> Finding:
    key = config.admin_key
    if key is None:
        return ok("admin", "no PROXY_ADMIN_KEY: there is no /admin")
    if len(key) < LONG_KEY and is_open:
        found = f"a key of {len(key)} characters opens /admin"
        return warn("admin", found, f"It can have contents be kept. Take a longer one: {NEW_KEY}")
    return ok("admin", f"a key of {len(key)} characters; let no proxy pass /admin on")


def _metrics(config: settings.Config, is_open: bool) -> Finding:
    if not config.enable_metrics:
        return ok("metrics", "off")
    if config.metrics_allow_unauth and is_open:
        advice = "They tell of models, of load and of failures: set PROXY_METRICS_TOKEN instead."
        return warn("metrics", "open to everyone who can connect", advice)
    doors = [
        *(["a token"] if config.metrics_token is not None else []),
        *(["this machine"] if config.metrics_allow_loopback else []),
        *(["everyone on it"] if config.metrics_allow_unauth else []),
    ]
    return ok("metrics", f"open to {' and '.join(doors) or 'nobody'}")


def _origins(config: settings.Config) -> Finding:
    if not config.enable_cors:
        return ok("origins", "no web page may read answers")
    origins = config.cors_allowed_origins
    if "*" not in origins:
        return ok("origins", f"web pages of {', '.join(origins) or 'nobody'} may read answers")
    advice = "Name the pages that may: PROXY_CORS_ALLOWED_ORIGINS=https://app.example."
    if config.api_key is None:
        found = "every web page that is open on this machine may ask, and read answers"
        return fail("origins", found, f"Set PROXY_API_KEY. {advice}")
    return warn("origins", "every web page that has the key may read answers", advice)


def _testing(config: settings.Config, is_open: bool) -> Finding:
    if config.test_endpoints and (is_open or config.env == "prod"):
        advice = "Set PROXY_TEST_ENDPOINTS=false: they tell how many streams others have."
        return warn("testing", "/__test/conc is open", advice)
    return ok("testing", "on, for this machine" if config.test_endpoints else "off")


def _sandbox(config: settings.Config) -> Finding:
    found = f"{config.sandbox_mode}, approval {config.approval_policy}"
    if config.sandbox_mode == "read-only":
        return ok("sandbox", found)
    advice = "A prompt can have Codex write there. Set PROXY_SANDBOX_MODE=read-only."
    return warn("sandbox", found, advice)


def _contents(config: settings.Config) -> Finding:
    if config.event_log == "full":
        advice = "Set PROXY_EVENT_LOG=masked; `/admin/logging` keeps one key's for some minutes."
        return warn("contents", "the event log keeps what clients say, word for word", advice)
    kept = "is off" if config.event_log == "off" else "keeps no words, only their lengths"
    return ok("contents", f"the event log {kept}")


def _kept(config: settings.Config) -> Finding:
    if config.store == "off" or not config.enable_responses:
        return ok("kept", "no responses")
    return ok("kept", "responses whose clients want them kept, word for word, 0600")


def _retention(config: settings.Config) -> Finding:
    ages = {
        "PROXY_LOG_MAX_AGE_S": config.log_max_age_s if config.event_log != "off" else None,
        "PROXY_STORE_TTL_S": config.store_ttl_s if config.store != "off" else None,
    }
    known = {name: age for name, age in ages.items() if age is not None}
    if not known:
        return ok("retention", "nothing is kept")
    found = ", ".join(f"{name} {_age(age)}" for name, age in known.items())
    if endless := [name for name, age in known.items() if not age or age > LONG_S]:
        advice = f"Decide how long it is needed: {' and '.join(endless)}, in seconds."
        return warn("retention", found, advice)
    return ok("retention", found)


def _age(seconds: int) -> str:
    if not seconds:
        return "without end"
    return f"{seconds / DAY_S:g} days" if seconds % DAY_S == 0 else f"{seconds} s"
