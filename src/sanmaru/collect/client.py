"""One polite HTTP client: paced, patient, and distrustful of what comes back."""

from __future__ import annotations

import email.utils
import random
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from sanmaru.collect.base import Answer, BaseSource, CollectError, Problem, Request
from sanmaru.collect.clock import Clock
from sanmaru.collect.config import SourceConfig
from sanmaru.collect.keys import Scrubber
from sanmaru.collect.limits import left_today, push_back, take_turn
from sanmaru.collect.store import RawStore
from sanmaru.pipelines.context import NotReady

if TYPE_CHECKING:
    import httpx

_MAY_PASS = (408, 425, 429, 500, 502, 503, 504)
_AGENT = "sanmaru (+https://pypi.org/project/sanmaru){contact}"


class Client:
    """Asks the server of one source; every attempt is kept in the store before it is judged or tried again.

    Args:
        name: Of the source.
        source: Judges answers and knows the secret parameters.
        config: Its config.
        store: Where attempts are kept, and by which pace and quota are shared with other processes.
        clock: By which is waited.
        seed: Of the jitter.
    """

    def __init__(
        self,
        name: str,
        source: BaseSource,
        config: SourceConfig,
        store: RawStore,
        clock: Clock,
        *,
        seed: int | None = None,
    ) -> None:
        self._name, self._source, self._config, self._store, self._clock = name, source, config, store, clock
        self._secret: dict[str, str] | None = None
        self._random = random.Random(seed)
        self._http: httpx.Client | None = None

    def close(self) -> None:
        """Close the connections."""
        if self._http is not None:
            self._http.close()

    def ask(self, request: Request, sweep: int) -> Answer:
        """Return an answer without problem, trying again where that may help.

        Between tries it waits a random time, evenly from 0 to `backoff_s` times 2 to the number of tries (full
        jitter), and never less than the server's `Retry-After`.

        Raises:
            NotReady: when the data is not there yet, the day's requests are used up, or the server wants to be left
                alone for longer than `http.wait_max_s`.
            CollectError: when the source refused, or every try failed.
        """
        config = self._config.http
        scrubber = Scrubber(self._secrets())
        problem: Problem | None = None
        for attempt in range(config.retries + 1):
            self._wait_turn(request)
            answer, problem = self._try(request, sweep, scrubber)
            if answer is not None and problem is None:
                return answer
            assert problem is not None
            if problem.kind == "later":
                raise NotReady(f"{self._name}: {scrubber.text(problem.text)}")
            if problem.kind == "refused":
                raise CollectError(f"{self._name}: {self._where(request)}: {scrubber.text(problem.text)}")
            if attempt < config.retries:
                self._back_off(request, attempt, answer)
        assert problem is not None
        raise CollectError(
            f"{self._name}: {self._where(request)} failed {config.retries + 1} times, "
            f"last: {scrubber.text(problem.text)}. What came back is kept in the raw store (sanmaru collect status)."
        )

    def _try(self, request: Request, sweep: int, scrubber: Scrubber) -> tuple[Answer | None, Problem | None]:
        local = self._source.local(request, self._clock.now())
        if local is not None:
            problem = self._source.problem(local)
            return self._store.keep(self._name, sweep, local, problem, scrubber), problem
        try:
            with scrubber.logs():
                answer, cut = self._get(request)
        except _LostError as error:
            problem = Problem("retry", scrubber.text(str(error)))
            self._store.keep_failure(self._name, sweep, request, self._clock.now(), problem)
            return None, problem
        if answer.status == 304:
            earlier = self._store.good(self._name, request)
            if earlier is not None:  # the same bytes again, without their way through the network
                answer = replace(earlier, fetched_at=answer.fetched_at)
        problem = cut or self._judge(answer)
        return self._store.keep(self._name, sweep, answer, problem, scrubber), problem

    def _judge(self, answer: Answer) -> Problem | None:
        told = self._source.problem(answer)  # the body may say more than the status
        if answer.status < 300:
            return told
        kind = "retry" if answer.status in _MAY_PASS else "refused"
        if told is not None and (told.kind != "retry" or kind == "refused"):
            return Problem(told.kind, f"HTTP {answer.status}: {told.text}")
        return Problem("retry" if kind == "retry" else "refused", f"HTTP {answer.status}")

    def _get(self, request: Request) -> tuple[Answer, Problem | None]:
        import httpx

        config = self._config.http
        began = time.monotonic()
        body = bytearray()
        cut: Problem | None = None
        try:
            with self._client().stream(
                "GET", request.url, params={**request.params, **self._secrets()}, headers=self._conditions(request)
            ) as response:
                for chunk in response.iter_bytes():
                    body += chunk
                    if len(body) > config.max_bytes:
                        cut = Problem(
                            "refused", f"the answer is longer than {config.max_bytes:,} bytes (http.max_bytes)"
                        )
                        break
                    if time.monotonic() - began > config.total_s:
                        cut = Problem("retry", f"the answer took longer than {config.total_s:g} s (http.total_s)")
                        break
        except httpx.HTTPError as error:
            # A body that ends before its announced length comes here, too.
            raise _LostError(f"{type(error).__name__}: {error or 'no answer'}") from None
        except (httpx.InvalidURL, ValueError) as error:
            raise CollectError(f"{self._name}: {self._where(request)} is no address: {type(error).__name__}") from None
        headers = {k.lower(): v for k, v in response.headers.items()}
        now = self._clock.now()
        whole = bytes(body[: config.max_bytes])
        return Answer(request=request, status=response.status_code, headers=headers, body=whole, fetched_at=now), cut

    def _client(self) -> httpx.Client:
        import httpx

        if self._http is None:
            config = self._config.http
            contact = f" {config.contact}" if config.contact else ""
            self._http = httpx.Client(
                timeout=config.timeout_s,
                follow_redirects=not self._secrets(),  # a key is not carried to another address
                max_redirects=5,
                headers={"User-Agent": _AGENT.format(contact=contact)},
            )
        return self._http

    def _conditions(self, request: Request) -> dict[str, str]:
        """Ask only for what changed, where an earlier answer said by what to tell."""
        earlier = self._store.good(self._name, request)
        known = {} if earlier is None else earlier.headers
        named = {"If-None-Match": known.get("etag"), "If-Modified-Since": known.get("last-modified")}
        return {name: value for name, value in named.items() if value}

    def _wait_turn(self, request: Request) -> None:
        host = urlsplit(request.url).netloc
        if not host:
            return
        config, now = self._config, self._clock.now()
        catalogue = self._store.catalogue
        if config.daily is not None:
            left, then = left_today(catalogue, request.url, now, daily=config.daily, zone=config.daily_zone)
            if left == 0:
                raise NotReady(
                    f"{self._name}: the day's {config.daily} requests to {self._where(request)} are used up; the next "
                    f"day begins at {then:%Y-%m-%d %H:%M} UTC"
                )
        wait = take_turn(catalogue, host, now, per_s=config.per_s, burst=config.burst)
        self._sleep(wait, host)

    def _back_off(self, request: Request, attempt: int, answer: Answer | None) -> None:
        config = self._config.http
        pause = self._random.uniform(0, min(config.backoff_max_s, config.backoff_s * 2**attempt))
        wanted = retry_after(answer.headers.get("retry-after"), self._clock.now()) if answer is not None else None
        host = urlsplit(request.url).netloc
        if wanted:
            until = self._clock.now() + timedelta(seconds=wanted)
            push_back(self._store.catalogue, host, until, per_s=self._config.per_s, burst=self._config.burst)
        self._sleep(max(pause, wanted or 0.0), host)

    def _sleep(self, seconds: float, host: str) -> None:
        if seconds > self._config.http.wait_max_s:
            until = self._clock.now() + timedelta(seconds=seconds)
            raise NotReady(f"{self._name}: {host} is to be left alone until {until:%Y-%m-%d %H:%M:%S} UTC")
        if seconds > 0:
            self._clock.sleep(seconds)

    def _secrets(self) -> dict[str, str]:
        if self._secret is None:
            self._secret = dict(self._source.secret())
        return self._secret

    @staticmethod
    def _where(request: Request) -> str:
        parts = urlsplit(request.url)
        return f"{parts.scheme}://{parts.netloc}{parts.path}" if parts.netloc else request.url


class _LostError(Exception):
    """No answer came, or only a part of one."""


def retry_after(value: str | None, now: datetime) -> float | None:
    """Read a `Retry-After` header: seconds, or a date (RFC 9110, 10.2.3). Return seconds from now, None for neither.

    >>> retry_after("120", datetime(2026, 11, 21, tzinfo=UTC))
    120.0
    >>> retry_after("Sat, 21 Nov 2026 00:00:30 GMT", datetime(2026, 11, 21, tzinfo=UTC))
    30.0
    """
    if value is None:
        return None
    if value.strip().isascii() and value.strip().isdigit():
        return float(value)
    try:
        moment = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - now).total_seconds())
