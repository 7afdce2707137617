"""A stand-in for ChatGPT on loopback: its login, its accounts, its quota, and its models.

    with ChatGpt() as chatgpt:
        home = chatgpt.home(tmp_path / "home")      # a CODEX_HOME whose Codex asks here
        program = chatgpt.codex(tmp_path)           # a CODEX_BIN whose logins come here
        chatgpt.log_in(home, "acc-1")

The real Codex takes all of it for the real one (0.163), but for the origin of a workspace's back
end, which must be an https one and is asked for nothing here.
"""

import base64
import json
import shlex
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from tests.support.process import codexbinary
from tests.support.providers import provider, scripted
from tests.support.providers.replies import Answer

EMAIL: Final = "someone@example.org"
"""The address of every account: nothing of ours may show it."""

CODE: Final = "ABCD-12345"
"""Entered for a login by a code."""

TOKEN: Final = "rt-secret-token"
"""A part of every login: nothing of ours may show it."""

_CONFIG: Final = """\
model = "gpt-5.5"
model_provider = "p"
chatgpt_base_url = "{base}/backend-api"
[features]
enable_request_compression = false
[model_providers.p]
name = "OpenAI"
base_url = "{base}/v1"
wire_api = "responses"
requires_openai_auth = true
"""


class Server(provider.Server):
    """ChatGPT in the loop that opens it.

    Attributes:
        quota: percent used of the short window and of the long one.
        resets_in: seconds until both are reset.
        told: headers of every answer of a model.
        is_granted: whether somebody has entered the code.
        asked: paths of everything but models.
    """

    def __init__(self, script: provider.Script, default: Answer) -> None:
        super().__init__(script, default)
        self.quota = (42, 84)
        self.resets_in = 3600
        self.told: dict[str, str] = {}
        self.is_granted = False
        self.asked: list[str] = []

    def answer_aside(self, request: provider.Request) -> scripted.Steps | None:
        _, _, target = request.path.partition(" ")
        path = target.partition("?")[0]
        if path == "/v1/responses":
            return None
        self.asked.append(path)
        found = self._aside(path)
        return [_response(404, {}) if found is None else _response(*found)]

    def answer(self, request: provider.Request) -> scripted.Steps:
        return self._with_headers(super().answer(request))

    def _with_headers(self, steps: scripted.Steps) -> Iterator[scripted.Step]:
        lines = "".join(f"{name}: {value}\r\n" for name, value in self.told.items()).encode()
        for number, step in enumerate(steps):
            if number == 0 and isinstance(step, bytes):
                status, _, rest = step.partition(b"\r\n")
                step = status + b"\r\n" + lines + rest
            yield step

    def _aside(self, path: str) -> tuple[int, dict[str, Any]] | None:
        end = path.removeprefix("/backend-api").removeprefix("/api/accounts")
        match end:
            case "/wham/accounts/check":
                return 200, {"accounts": [*map(_account, ("acc-1", "acc-2"))]}
            case "/wham/usage":
                return 200, self._usage()
            case "/wham/profiles/me":
                return 200, {"stats": {"lifetime_tokens": 123456, "peak_daily_tokens": 1000}}
            case "/deviceauth/usercode":
                return 200, {"device_auth_id": "d", "user_code": CODE, "interval": "1"}
            case "/deviceauth/token" if self.is_granted:
                names = ("authorization_code", "code_challenge", "code_verifier")
                return 200, dict.fromkeys(names, "x")
            case "/deviceauth/token":
                return 403, {}
            case "/oauth/token":
                return 200, {**_tokens("acc-1"), "expires_in": 3600}
        return None

    def _usage(self) -> dict[str, Any]:
        short, long = (
            {
                "used_percent": used,
                "limit_window_seconds": seconds,
                "reset_after_seconds": self.resets_in,
                "reset_at": int(time.time()) + self.resets_in,
            }
            for used, seconds in zip(self.quota, (18_000, 604_800), strict=True)
        )
        return {
            "plan_type": "plus",
            "rate_limit": {
                "allowed": True,
                "limit_reached": False,
                "primary_window": short,
                "secondary_window": long,
            },
            "credits": {"has_credits": False, "unlimited": False, "balance": "0"},
        }


class ChatGpt(scripted.Hosted[Server]):
    """ChatGPT on a free loopback port while its `with` block lasts."""

    def __init__(
        self, script: provider.Script | None = None, default: Answer = provider.HELLO
    ) -> None:
        super().__init__(Server(script if script is not None else {}, default))

    @property
    def base(self) -> str:
        """Its root."""
        return self.url.removesuffix("/v1")

    def home(self, directory: Path) -> Path:
        """Make a home whose Codex takes this for ChatGPT."""
        directory.mkdir()
        (directory / "config.toml").write_text(_CONFIG.format(base=self.base))
        return directory

    def codex(self, directory: Path) -> str:
        """Make a program that is the real Codex, with its logins here."""
        program = directory / "codex"
        issuer = shlex.quote(self.base)
        program.write_text(
            f"#!/bin/sh\nCODEX_APP_SERVER_LOGIN_ISSUER={issuer} "
            f'exec {shlex.quote(str(codexbinary.path()))} "$@"\n'
        )
        program.chmod(0o755)
        return str(program)

    def log_in(self, home: Path, account: str = "acc-1") -> None:
        """Put a login into a home, as a Codex beside the server does."""
        fresh = home / "auth.json.new"
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        tokens = {**_tokens(account), "account_id": account}
        kept = {"auth_mode": "chatgpt", "OPENAI_API_KEY": None, "tokens": tokens}
        fresh.write_text(json.dumps({**kept, "last_refresh": now}))
        fresh.replace(home / "auth.json")


def _account(name: str) -> dict[str, Any]:
    return {
        "id": name,
        "plan_type": "plus",
        "workspace_backend_origin": "https://chatgpt.com",
        "account_routing_override": "NO_CONSTRAINT",
        "structure": "personal",
    }


def _tokens(account: str) -> dict[str, str]:
    claims = {
        "email": EMAIL,
        "exp": int(time.time()) + 86_400,
        "https://api.openai.com/auth": {
            "chatgpt_plan_type": "plus",
            "chatgpt_account_id": account,
            "chatgpt_user_id": f"user of {account}",
        },
    }
    token = ".".join((_part({"alg": "none"}), _part(claims), "c2ln"))
    return {"id_token": token, "access_token": token, "refresh_token": TOKEN}


def _part(value: Mapping[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def _response(status: int, value: Mapping[str, Any]) -> bytes:
    body = json.dumps(value).encode()
    head = f"HTTP/1.1 {status} Scripted\r\ncontent-type: application/json\r\n"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body
