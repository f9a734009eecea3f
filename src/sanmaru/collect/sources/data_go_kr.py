"""The envelope in which services of www.data.go.kr answer, and its many ways of saying no.

`{"response": {"header": {"resultCode": "00", "resultMsg": ...}, "body": {"items": ..., "totalCount": n, ...}}}`,
where `items` is a list (AirKorea), `{"item": [...]}`, `{"item": {...}}` for one, or "" for none (weather service).
An error of the gateway comes as XML whatever was asked for, `<OpenAPI_ServiceResponse><cmmMsgHeader>` with
`returnReasonCode` and `returnAuthMsg`, or as JSON of the same names; both often with status 200. The codes are
those of the portal's guide as many public clients quote them; the guide itself (a .docx for each service) was not
at hand.
"""

from __future__ import annotations

import json
import re
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

from sanmaru.collect.base import Answer, BaseSource, Problem, Request
from sanmaru.collect.keys import service_key

PAGE_ROWS = 999
"""Rows per page; the weather service refuses more."""

CODES = {
    "01": ("retry", "application error"),
    "02": ("retry", "database error"),
    "03": ("later", "no data"),
    "04": ("retry", "HTTP error"),
    "05": ("retry", "service time-out"),
    "10": ("refused", "a parameter is wrong"),
    "11": ("refused", "a parameter is missing"),
    "12": ("refused", "the service does not exist any more"),
    "20": ("refused", "access denied: apply for this service with your key at www.data.go.kr"),
    "21": ("later", "the key is switched off for a while"),
    "22": ("later", "the day's requests of this key are used up"),
    "23": ("retry", "too many requests at a time"),
    "30": ("refused", "the key is not registered, or not yet with this service: a new one takes about an hour"),
    "31": ("refused", "the key has expired"),
    "32": ("refused", "this machine's address is not registered with the key"),
    "33": ("refused", "the call is not signed"),
    "99": ("later", "the data of this day is not there yet"),
}
"""Code to what it means for us, and in words."""

_TAG = r"<{0}>\s*(?:<!\[CDATA\[)?\s*([^<\]]*)"
_GATEWAY = ("returnReasonCode", "returnAuthMsg", "errMsg")


def problem(answer: Answer) -> Problem | None:
    """Return what an answer says instead of data, or None."""
    text = answer.text().lstrip()
    if text.startswith("<"):
        return _of_xml(text)
    try:
        content = json.loads(text)
    except ValueError:
        return Problem("retry", f"no JSON but {text[:80]!r}")
    gateway = _find(content, "cmmMsgHeader")
    if isinstance(gateway, dict):
        return _of_code(str(gateway.get("returnReasonCode", "")), str(gateway.get("returnAuthMsg", "")))
    header = _find(content, "header")
    code = str(header.get("resultCode", "")) if isinstance(header, dict) else ""
    if code in ("00", "0", "0000"):
        return None if isinstance(_find(content, "body"), dict) else Problem("retry", "an answer without body")
    if not code:
        return Problem("retry", "an answer without resultCode")
    return _of_code(code, str(header.get("resultMsg", "")) if isinstance(header, dict) else "")


def items(answer: Answer) -> tuple[list[Any], int | None]:
    """Return the items of an answer without problem, and how many all pages have together."""
    body = _find(json.loads(answer.text()), "body")
    assert isinstance(body, dict)
    found = body.get("items")
    if isinstance(found, dict):
        found = found.get("item")
    listed = found if isinstance(found, list) else [found] if isinstance(found, dict) else []
    try:
        return listed, int(body["totalCount"])
    except (KeyError, TypeError, ValueError):
        return listed, None


def _of_xml(text: str) -> Problem:
    tags = {name: match[1].strip() for name in _GATEWAY if (match := re.search(_TAG.format(name), text))}
    if tags:
        return _of_code(tags.get("returnReasonCode", ""), tags.get("returnAuthMsg") or tags.get("errMsg", ""))
    code = re.search(_TAG.format("resultCode"), text)
    said = re.search(_TAG.format("resultMsg"), text)
    if code and code[1].strip() not in ("00", "0", "0000"):
        return _of_code(code[1].strip(), said[1].strip() if said else "")
    title = re.search(r"<title[^>]*>([^<]*)", text, re.IGNORECASE)
    return Problem("retry", f"a page instead of data: {(title[1] if title else text[:80]).strip()!r}")


def _of_code(code: str, said: str) -> Problem:
    kind, words = CODES.get(code.zfill(2), ("retry", "unknown code"))
    return Problem(kind, f"code {code} ({words}): {said}".removesuffix(": "))  # type: ignore[arg-type]


def _find(content: Any, name: str) -> Any:
    """Return what stands under a name at the top, or one level below it."""
    if not isinstance(content, dict):
        return None
    if name in content:
        return content[name]
    return next((inner[name] for inner in content.values() if isinstance(inner, dict) and name in inner), None)


class BaseDataGoKr(BaseSource):
    """A source on the portal: its key, its refusals, and lists that come in pages.

    Args:
        key_env: Environment variable that holds the service key.
    """

    def __init__(self, key_env: str) -> None:
        self._key_env = key_env

    @abstractmethod
    def following(self, answer: Answer, page: int) -> Request:
        """Return the request of a further page of the list that an answer begins."""

    def secret(self) -> Mapping[str, str]:
        """Return the service key."""
        return {"serviceKey": service_key(self._key_env)}

    def problem(self, answer: Answer) -> Problem | None:
        """Tell refusals and error pages from data."""
        return problem(answer)

    def total(self, answer: Answer) -> tuple[int, int] | None:
        """Return the rows of this page and of all."""
        found, total = items(answer)
        return None if total is None else (len(found), total)

    def more(self, answer: Answer) -> list[Request]:
        """Return the further pages."""
        pages = -(-(items(answer)[1] or 0) // PAGE_ROWS)
        return [self.following(answer, page) for page in range(2, pages + 1)]
