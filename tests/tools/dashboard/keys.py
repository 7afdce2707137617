"""The row of the keys of clients, and of reloads."""

from typing import Final

from tests.tools.dashboard.panel import Panel, Row
from tests.tools.dashboard.promql import gained, gauge, rate

OF_KEYS: Final = Row(
    "Keys and reloads",
    (
        Panel(
            "Requests by key",
            "Requests for answers that were let through.",
            ((rate("turntape_key_requests_total", "key"), "{{key}}"),),
            "reqps",
        ),
        Panel(
            "Tokens by key",
            "That each key was charged with, in each interval.",
            ((gained("turntape_key_tokens_total", "key"), "{{key}}"),),
        ),
        Panel(
            "Refused by a limit of the key",
            "429 by the limit that was used up, in each interval.",
            ((gained("turntape_key_refusals_total", "key", "limit"), "{{key}} {{limit}}"),),
        ),
        Panel(
            "Open answers by key",
            "That count for the limit of streams of each key.",
            ((gauge("turntape_key_streams_open", "key"), "{{key}}"),),
        ),
        Panel(
            "Reloads",
            "That came into force, and that found something wrong and changed nothing.",
            (
                (gained("turntape_config_reloads_total"), "in force"),
                (gained("turntape_config_reload_failures_total"), "failed"),
            ),
        ),
    ),
)
