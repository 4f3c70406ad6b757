"""Who may come in: the right name, the right page, the token, and not too many guesses.

A page of another site that a viewer has open may send requests here too: under a name of its own that it points at this
address (DNS rebinding), or straight across sites. The first is known by its Host, the second by its Origin and
Sec-Fetch-Site.
"""

from __future__ import annotations

import ipaddress
import secrets
import socket
import time
from urllib.parse import urlsplit

from tornado.httputil import HTTPServerRequest
from tornado.web import HTTPError

from hgedge.errors import ConfigError

SHORTEST_TOKEN = 8
GUESSES, WINDOW_S = 10, 60.0  # wrong tokens that an address has in so much time
MAX_ADDRESSES = 10_000  # that are counted at once; further ones wait for the next window
IPV6_SITE_BITS = 64  # what one customer has; each of its addresses is as good as another


def new_token() -> str:
    """A token that nobody guesses: 22 characters of 128 random bits."""
    return secrets.token_urlsafe(16)


def is_loopback(host: str) -> bool:
    """Whether an address can be reached from this machine alone."""
    address = _address(host)
    return host == "localhost" if address is None else address.is_loopback


class Guesses:
    """Counts wrong tokens by address; forgets them all at the end of each window."""

    def __init__(self) -> None:
        self._wrong: dict[str, int] = {}
        self._ends_s = 0.0

    def left(self, address: str) -> bool:
        """Whether the address may try another token."""
        if time.monotonic() >= self._ends_s:
            self._wrong, self._ends_s = {}, time.monotonic() + WINDOW_S
        site = _site(address)
        return self._wrong.get(site, 0) < GUESSES and (site in self._wrong or len(self._wrong) < MAX_ADDRESSES)

    def count(self, address: str) -> None:
        """Note a wrong token."""
        self._wrong[_site(address)] = self._wrong.get(_site(address), 0) + 1

    @property
    def wait_s(self) -> int:
        """Seconds until guesses are forgotten."""
        return max(1, round(self._ends_s - time.monotonic()))


class Guard:
    """Refuses requests that should not be answered.

    Args:
        host: The address that is listened on.
        token: Asked of everyone; None asks nothing.

    Attributes:
        session: The cookie's value: random, of this run, so that a cookie is no second way to guess a token.

    Raises:
        ConfigError: Others can reach the address and there is no token, or the token is too short.
    """

    def __init__(self, host: str, token: str | None) -> None:
        if token is None and not is_loopback(host):
            raise ConfigError(
                f"everyone who reaches {host or 'this machine'} could see the preview; give it a token "
                "(--preview-token), or keep it to 127.0.0.1 and reach it through ssh -L"
            )
        if token is not None and len(token) < SHORTEST_TOKEN:
            raise ConfigError(
                f"the preview's token has {len(token)} characters, expected at least {SHORTEST_TOKEN}; "
                "leave it out to have one made"
            )
        self._host, self._token = host, token
        self._guesses = Guesses()
        self.session = secrets.token_urlsafe(32)

    def check(self, request: HTTPServerRequest, cookie: str | None, offered: str | None) -> bool:
        """Let a request in.

        Args:
            request: The request.
            cookie: The session that it brings.
            offered: The token that it brings, in its address or as a bearer.

        Returns:
            Whether it came in by its token, and so should be given the cookie.

        Raises:
            HTTPError: 403 of a name or page that is not ours; 401 without the token; 429 after too many wrong ones.
        """
        self._check_host(request.host)
        _check_site(request)
        if self._token is None or (cookie is not None and _same(cookie, self.session)):
            return False
        if offered is None:
            raise HTTPError(401, reason="Token needed")
        address = request.remote_ip or ""
        if not self._guesses.left(address):
            raise HTTPError(429, reason=f"Too many wrong tokens, wait {self._guesses.wait_s} s")
        if not _same(offered, self._token):
            self._guesses.count(address)
            raise HTTPError(401, reason="Wrong token")
        return True

    def _check_host(self, header: str) -> None:
        """Addresses cannot be pointed elsewhere, nor can localhost; names are ours, or have the token to tell."""
        try:
            name = urlsplit(f"//{header}").hostname or ""
        except ValueError:
            name = ""
        own = name == "localhost" or name == self._host.lower() or _address(name) is not None
        machine = self._token is not None and name.split(".")[0] == socket.gethostname().split(".")[0].lower()
        if not own and not machine:
            raise HTTPError(403, reason="Unknown name of this server, use its address")


def _check_site(request: HTTPServerRequest) -> None:
    """Refuse what a page of another site sends; following a link to here is fine."""
    origin, site = request.headers.get("Origin"), request.headers.get("Sec-Fetch-Site", "none")
    link = request.method == "GET" and request.headers.get("Sec-Fetch-Mode") == "navigate"
    foreign = origin is not None and origin.partition("://")[2].lower() != request.host.lower()
    if foreign or (site not in ("same-origin", "none") and not link):
        raise HTTPError(403, reason="Request of another site")


def _same(given: str, wanted: str) -> bool:
    """Equality in a time that tells nothing of where two texts differ."""
    return secrets.compare_digest(given.encode(), wanted.encode())


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _site(host: str) -> str:
    address = _address(host)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is None:
        return str(ipaddress.ip_network((address, IPV6_SITE_BITS), strict=False))
    return host
