"""Checks of what stands behind the server: can it be reached, does it take the key, and what time
is it there."""

import base64
import email.utils
import http.client
import socket
import ssl
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple
from urllib.parse import unquote, urlsplit

from engine.codex.child import home as codexhome
from server import assembly
from server.cli import health
from server.cli.checks.findings import Finding, fail, ok, warn
from server.config import settings
from server.version import VERSION

STEP_S: Final = 5.0
"""Seconds for each wait on the network, as the server has for a connection to an upstream."""

LIMIT_S: Final = 10.0
"""Seconds for all of it. A resolver has limits of its own, and no way to be told of ours."""

SKEW_S: Final = 60.0
"""How far the two clocks may be apart: logins are signed with times, and have some leeway."""

OPENAI: Final = "https://api.openai.com/v1"
CHATGPT: Final = "https://chatgpt.com"
"""Where Codex finds OpenAI's models with a key, and with a ChatGPT login (`docs/codex.md`)."""


PROXY: Final = "the proxy in HTTPS_PROXY"
"""All that decides the way to them."""


class Target(NamedTuple):
    """A place that the server sends requests to.

    Attributes:
        name: of the finding.
        url: of its API.
        setting: the variable that says where it is.
        headers: sent with the question; the server's own key is among them, if it is the
            upstream's.
    """

    name: str
    url: str
    setting: str
    headers: Mapping[str, str] = {}


class Answer(NamedTuple):
    """The answer of a place, as far as it matters here.

    Attributes:
        ahead: seconds that its clock is ahead of ours; None where it told no time.
    """

    status: int
    ahead: float | None
    proxy: str | None


class Unreached(Exception):
    """Raised where nothing came back.

    Args:
        found: what failed.
        advice: what to do next.
    """

    def __init__(self, found: str, advice: str) -> None:
        super().__init__(found)
        self.found = found
        self.advice = advice


def check(config: settings.Config) -> Iterator[Finding]:
    """Ask each place for its models, once."""
    for target in targets(config):
        try:
            answer = ask(target)
        except Unreached as error:
            yield fail(target.name, f"{target.url}: {error.found}", error.advice)
            continue
        yield _judge(target, answer)
        if answer.ahead is not None:
            yield _skew(target, answer.ahead)


def targets(config: settings.Config) -> Iterator[Target]:
    """The places that the workers send requests to."""
    if "codex" in config.workers() and config.use_app_server:
        setup = assembly.codex_options(config).setup
        if setup.base_url is not None:
            yield Target("provider", setup.base_url, "PROXY_CODEX_BASE_URL")
        elif "model_provider" in codexhome.settings(setup):
            yield Target("provider", OPENAI if setup.has_key else CHATGPT, PROXY)
    if "upstream" in config.workers() and config.upstream_url is not None:
        headers = {}
        if config.upstream_api_key is not None:
            headers["authorization"] = f"Bearer {config.upstream_api_key}"
        for name, value in assembly.upstream_headers(config):
            headers[name.lower()] = value
        yield Target("upstream", config.upstream_url, "PROXY_UPSTREAM_URL", headers)


def ask(target: Target, limit: float = LIMIT_S) -> Answer:
    """Ask for the models of a place; whatever holds it up is given up after `limit` seconds.

    Raises:
        Unreached: there was no answer.
    """
    answers: list[Answer | Unreached] = []

    def run() -> None:
        try:
            answers.append(_get(target))
        except Unreached as error:
            answers.append(error)

    # The process ends without waiting for it.
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(limit)
    answer = answers[0] if answers else _late(target, limit)
    if isinstance(answer, Unreached):
        raise answer
    return answer


def _late(target: Target, limit: float) -> Unreached:
    host = _host(target.url)
    advice = f"Does the name resolve (`getent hosts {host}`), and does a firewall let it pass?"
    return Unreached(f"no answer within {limit:.0f} s", advice)


def _get(target: Target) -> Answer:
    try:
        proxy = _proxy(target.url)
        connection, path = _connection(target.url, proxy)
        try:
            headers = {"user-agent": f"turntape/{VERSION}", **target.headers}
            if proxy is not None and urlsplit(target.url).scheme == "http":
                headers |= proxy.login
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            place = None if proxy is None else proxy.place
            return Answer(response.status, _ahead(response.getheader("date")), place)
        finally:
            connection.close()
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _explain(target, error) from None


class _Proxy(NamedTuple):
    """A proxy: its host and port, and the header of its login, if it has one."""

    place: str
    login: dict[str, str]


def _proxy(url: str) -> _Proxy | None:
    """Return the proxy that the environment has for a URL."""
    parts = urlsplit(url)
    if not parts.hostname or urllib.request.proxy_bypass(parts.hostname):
        return None
    proxy = urllib.request.getproxies().get(parts.scheme)
    if proxy is None:
        return None
    netloc = urlsplit(proxy if "://" in proxy else f"http://{proxy}").netloc
    login, given, place = netloc.rpartition("@")
    basic = base64.b64encode(unquote(login).encode()).decode()
    return _Proxy(place, {"proxy-authorization": f"Basic {basic}"} if given else {})


def _connection(url: str, proxy: _Proxy | None) -> tuple[http.client.HTTPConnection, str]:
    """Return a connection that is not made yet, and the target of a request on it."""
    parts = urlsplit(url)
    path = f"{parts.path.rstrip('/')}/models"
    path += f"?{parts.query}" if parts.query else ""
    host = parts.hostname or ""
    if parts.scheme == "https":
        context = ssl.create_default_context()
        secure = http.client.HTTPSConnection(
            proxy.place if proxy else host,
            None if proxy else parts.port,
            timeout=STEP_S,
            context=context,
        )
        if proxy:
            secure.set_tunnel(host, parts.port or 443, proxy.login)
        return secure, path
    if proxy:
        target = f"http://{parts.netloc}{path}"
        return http.client.HTTPConnection(proxy.place, timeout=STEP_S), target
    return http.client.HTTPConnection(host, parts.port, timeout=STEP_S), path


def _host(url: str) -> str:
    """Return the name in a URL, for advice; the whole URL where it has none."""
    try:
        return urlsplit(url).hostname or url
    except ValueError:
        return url


def _explain(target: Target, error: Exception) -> Unreached:
    host = _host(target.url)
    match error:
        case socket.gaierror():
            found = f"the name {host} cannot be resolved"
            advice = f"Correct {target.setting}, or the resolver: `getent hosts {host}`."
        case ConnectionRefusedError():
            found, advice = (
                "refused",
                f"Start what should listen there, or correct {target.setting}.",
            )
        case ssl.SSLCertVerificationError():
            found = f"its certificate is not accepted: {error.verify_message}"
            advice = "Name the authority's certificate in SSL_CERT_FILE."
        case ssl.SSLError():
            found = f"TLS failed: {error.reason or error}"
            advice = f"Does it speak TLS at all? Look at the scheme in {target.setting}."
        case TimeoutError():
            found = f"no answer within {STEP_S:.0f} s"
            advice = "Is it up, and does a firewall or a proxy let the connection pass?"
        case http.client.HTTPException():
            found = "what answers there speaks no HTTP"
            advice = f"Correct scheme and port in {target.setting}."
        case _:
            found = health.reason_of(error)
            advice = f"Look at {target.setting}, HTTPS_PROXY and NO_PROXY, and at the network."
    return Unreached(found, advice)


def _ahead(date: str | None) -> float | None:
    if date is None:
        return None
    try:
        return email.utils.parsedate_to_datetime(date).timestamp() - time.time()
    except (ValueError, OverflowError):
        return None


def _judge(target: Target, answer: Answer) -> Finding:
    way = f" through the proxy {answer.proxy}" if answer.proxy else ""
    found = f"{target.url} answers{way}, status {answer.status} for its models"
    if target.name == "provider":
        # It was asked without a login, and need not have that route.
        return ok(target.name, f"{target.url} answers{way}")
    if answer.status < 300:
        return ok(target.name, found)
    if answer.status in (401, 403):
        return fail(target.name, found, "Check PROXY_UPSTREAM_API_KEY: it refuses the key.")
    if answer.status in (404, 405, 501):
        advice = f"It lists no models; if answers fail too, {target.setting} has the wrong path."
        return warn(target.name, found, advice)
    if answer.status >= 500:
        return fail(target.name, found, "Look at its own log: it fails by itself.")
    return warn(target.name, found, f"Is {target.setting} the address of an API, with /v1?")


def _skew(target: Target, ahead: float) -> Finding:
    if abs(ahead) <= SKEW_S:
        return ok("skew", f"{abs(ahead):.0f} s to the clock of the {target.name}")
    way = "behind" if ahead > 0 else "ahead of"
    found = f"our clock is {abs(ahead):.0f} s {way} that of the {target.name}"
    return warn("skew", found, "Set the clock: `timedatectl` says whether NTP is on.")
