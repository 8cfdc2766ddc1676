"""Answers as HTTP responses: JSON that was checked when it was made, and refusals with their words."""

from __future__ import annotations

import json

from starlette.responses import Response

from petmood.labels import Language
from petmood.serve.refusals import RefusalError


def reply(content: object, *, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Plain values as a JSON response."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Response(text.encode("utf-8", "replace"), status, headers, media_type="application/json")


def failure(error: RefusalError, language: Language) -> dict[str, str]:
    """``answers.Failure`` as plain values."""
    return {"reason": error.reason, "message": error.sentence(language)}


def refused(error: RefusalError, language: Language) -> Response:
    """A refusal as a response."""
    headers = {"retry-after": str(error.retry_after)} if error.retry_after else {}
    if error.reason == "no_key":
        headers["www-authenticate"] = "Bearer"
    return reply({"error": failure(error, language)}, status=error.words.status, headers=headers)
