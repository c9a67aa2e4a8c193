"""A program that asks a page for captions, by the same requests as gradio_client; it may be slow, or leave midway."""

from __future__ import annotations

import contextlib
import json
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import httpx

Manner = Literal["plain", "slow", "leaves during upload", "leaves its answer", "leaves while waiting"]
"""What a visitor does; those who leave get no answer."""

_SECONDS = 300.0
_PIECES = 20
_PAUSE = 0.02
_BUSY = 503


@dataclass(frozen=True)
class Reply:
    """What came of a question."""

    answer: dict[str, Any] | str | None
    """What was recorded of the picture, or why nothing was; None for those who left."""
    status: int
    """Of the last HTTP answer."""
    seconds: float
    """From the first byte of the upload."""


class Visitor:
    """One client, with connections of its own; a context manager that ends them."""

    def __init__(self, address: str) -> None:
        """`address` ends with a slash."""
        import httpx

        self._client = httpx.Client(base_url=address, trust_env=False, timeout=_SECONDS)
        self._session = uuid.uuid4().hex
        self._function, self._names, self._stored = self._look_up()

    def __enter__(self) -> Visitor:
        return self

    def __exit__(self, *exception: object) -> None:
        self._client.close()

    def become_another(self) -> None:
        """To the page, be somebody it has not seen before."""
        self._session = uuid.uuid4().hex

    def ask(self, name: str, data: bytes, wishes: Mapping[str, Any], manner: Manner = "plain") -> Reply:
        """Send a file and wait for its answer. Raises httpx.HTTPError when the page does not answer at all."""
        began = time.perf_counter()
        if manner == "leaves during upload":
            self._upload_half(name, data)
            return Reply(None, 0, time.perf_counter() - began)
        uploaded = self._upload(name, data, slowly=manner == "slow")
        if uploaded.status_code != 200:
            return Reply(uploaded.text, uploaded.status_code, time.perf_counter() - began)
        [path] = uploaded.json()
        settings = [wishes.get(each, stored) for each, stored in zip(self._names, self._stored, strict=True)]
        picture = {"path": path, "orig_name": name, "meta": {"_type": "gradio.FileData"}}
        session, call = self._session, {"data": [picture, *settings], "fn_index": self._function}
        if manner.startswith("leaves"):
            session = uuid.uuid4().hex
        while (joined := self._post("queue/join", call | {"session_hash": session})).status_code == _BUSY:
            time.sleep(0.2)
        if joined.status_code != 200 or manner == "leaves its answer":
            answer = None if manner == "leaves its answer" else joined.text
            return Reply(answer, joined.status_code, time.perf_counter() - began)
        answer = self._fetch(session, leave=manner == "leaves while waiting")
        return Reply(answer, joined.status_code, time.perf_counter() - began)

    def _look_up(self) -> tuple[int, list[str], list[Any]]:
        """The number of the function, and the names and stored values of its settings."""
        config = self._client.get("config").json()
        [function] = [each for each in config["dependencies"] if each["api_name"] == "caption"]
        stored = {part["id"]: part["props"].get("value") for part in config["components"]}
        told = self._client.get("gradio_api/info").json()["named_endpoints"]["/caption"]["parameters"]
        names = [parameter["parameter_name"] for parameter in told]
        return function["id"], names[1:], [stored[part] for part in function["inputs"][1:]]

    def _post(self, where: str, content: dict[str, Any]) -> httpx.Response:
        return self._client.post(f"gradio_api/{where}", json=content)

    def _upload(self, name: str, data: bytes, *, slowly: bool) -> httpx.Response:
        if not slowly:
            return self._client.post("gradio_api/upload", files={"files": (name, data)})
        body, headers = _form(name, data)
        return self._client.post("gradio_api/upload", content=_in_pieces(body), headers=headers)

    def _upload_half(self, name: str, data: bytes) -> None:
        """Begin an upload, and break the connection."""
        import httpx

        body, headers = _form(name, data)
        with contextlib.suppress(_GoneAwayError, httpx.HTTPError):
            self._client.post("gradio_api/upload", content=_half(body), headers=headers)

    def _fetch(self, session: str, *, leave: bool) -> dict[str, Any] | str | None:
        """The answer to the session's question, as soon as it comes; None for who leaves at the first sign of it."""
        asked = {"session_hash": session}
        answer: dict[str, Any] | str = "The page ended the answer before it was told."
        with self._client.stream("GET", "gradio_api/queue/data", params=asked) as stream:
            # To its end, so that the connection can be used again.
            for line in stream.iter_lines():
                if leave:
                    return None
                message = json.loads(line.removeprefix("data:") or "{}")
                if message.get("msg") == "process_completed":
                    output = message["output"]
                    answer = output["data"][0] if message["success"] else str(output["error"])
        return answer


class _GoneAwayError(Exception):
    """Breaks a connection."""


def _form(name: str, data: bytes) -> tuple[bytes, dict[str, str]]:
    """The body of an upload, and the headers that tell its kind and length."""
    edge = "a-line-that-no-file-holds"
    head = f'--{edge}\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'
    body = head.encode() + data + f"\r\n--{edge}--\r\n".encode()
    return body, {"Content-Type": f"multipart/form-data; boundary={edge}", "Content-Length": str(len(body))}


def _in_pieces(body: bytes) -> Iterator[bytes]:
    size = -(-len(body) // _PIECES)
    for first in range(0, len(body), size):
        yield body[first : first + size]
        time.sleep(_PAUSE)


def _half(body: bytes) -> Iterator[bytes]:
    yield body[: len(body) // 2]
    raise _GoneAwayError
