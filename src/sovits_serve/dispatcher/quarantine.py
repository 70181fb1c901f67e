"""Requests that brought down two engines, refused for a while by what they ask for."""

import hashlib

import msgspec

from sovits_serve.errors import Quarantined
from sovits_serve.protocol.codec import ProtocolError, decode_request, encode_body


class Quarantine:
    """Fingerprints of poison requests, each until its time is over."""

    def __init__(self, duration_s: float) -> None:
        self._duration_s = duration_s
        self._until_s: dict[tuple[int, str], float] = {}

    def __len__(self) -> int:
        return len(self._until_s)

    def add(self, cost: int, payload: bytes, now_s: float) -> None:
        """Refuse requests like this one from now on."""
        if self._duration_s > 0:
            self._until_s[cost, fingerprint(payload)] = now_s + self._duration_s

    def check(self, cost: int, payload: bytes, now_s: float) -> None:
        """Check that a request is not like one of them.

        Raises:
            Quarantined: it is.
        """
        # Few requests are as long as a poisonous one; only those need to be decoded.
        if not self._until_s or not any(known_cost == cost for known_cost, _ in self._until_s):
            return
        until_s = self._until_s.get((cost, fingerprint(payload)))
        if until_s is None or until_s <= now_s:
            return
        raise Quarantined(
            "two engines died under this request a short time ago; it is refused for another "
            f"{until_s - now_s:.0f} s"
        )

    def expire(self, now_s: float) -> None:
        """Forget those whose time is over."""
        self._until_s = {key: until for key, until in self._until_s.items() if until > now_s}


def fingerprint(payload: bytes) -> str:
    """Return what two requests for the same speech have in common, whoever asks and when."""
    try:
        request = decode_request(payload)
    except ProtocolError:
        return hashlib.sha256(payload).hexdigest()
    sampling = msgspec.structs.replace(request.sampling, seed=0)
    same = msgspec.structs.replace(request, request_id="", sampling=sampling, timeout_s=None)
    return hashlib.sha256(encode_body(same)).hexdigest()
