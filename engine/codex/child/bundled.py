"""The models that Codex comes with: the rows of `codex debug models --bundled`."""

import msgspec


class KnownModel(msgspec.Struct, frozen=True):
    """A model as its binary describes it.

    Attributes:
        slug: what a request names.
        efforts: reasoning efforts it takes, the least first.
        lite: whether OpenAI's back end is sent the lite form of a request.
        listed: whether Codex shows it to its own users.
    """

    slug: str
    display_name: str
    efforts: tuple[str, ...]
    lite: bool
    listed: bool


BUNDLED_WITH = "0.163.0"
"""Version of the binary these rows were read from."""

_XHIGH = ("low", "medium", "high", "xhigh")
_MAX = (*_XHIGH, "max")
_ULTRA = (*_MAX, "ultra")

KNOWN = (
    KnownModel("gpt-6.1-sol", "GPT-6.1-Sol", _ULTRA, lite=True, listed=True),
    KnownModel("gpt-6-astra", "GPT-6-Astra", _ULTRA, lite=True, listed=True),
    KnownModel("gpt-6-sol", "GPT-6-Sol", _ULTRA, lite=True, listed=True),
    KnownModel("gpt-6-luna", "GPT-6-Luna", _MAX, lite=True, listed=True),
    KnownModel("gpt-5.6-sol", "GPT-5.6-Sol", _ULTRA, lite=True, listed=True),
    KnownModel("gpt-5.6-terra", "GPT-5.6-Terra", _ULTRA, lite=True, listed=True),
    KnownModel("gpt-5.6-luna", "GPT-5.6-Luna", _MAX, lite=True, listed=True),
    KnownModel("gpt-daybreak-blue-latest", "Daybreak Blue", _ULTRA, lite=True, listed=False),
    KnownModel("gpt-daybreak-red-latest", "Daybreak Red", _ULTRA, lite=True, listed=False),
    KnownModel("gpt-5.5", "GPT-5.5", _XHIGH, lite=False, listed=True),
    KnownModel("codex-auto-review", "Codex Auto Review", _MAX, lite=True, listed=False),
)
"""Every model of the binary, in its order of priority."""


def unlisted(slug: str) -> KnownModel:
    """A model that only a custom provider knows: every effort, the plain form."""
    return KnownModel(slug, slug, _ULTRA, lite=False, listed=True)
