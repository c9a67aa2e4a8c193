"""How the page is served: who is let in, what is refused, and what every answer carries."""

import asyncio
import bisect
import contextlib
import gc
import json
import os
import socket
import threading
import time
from base64 import b64encode
from collections.abc import Coroutine, Iterator
from dataclasses import fields, replace
from functools import cache
from hashlib import sha256
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.util import find_spec
from pathlib import Path
from shutil import copytree
from typing import Any, NamedTuple
from unittest.mock import Mock, patch
from urllib.parse import urlsplit

import httpx
import pytest
from gradio_client import Client
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

import captioner
from app.__main__ import demo, read_login
from app.condition import condition_routes
from app.desk import Desk
from app.door import HEADERS, Door
from app.interface import build_page, launch
from app.limits import OWN, PUBLIC, Limits
from app.uploads import Uploads, gradio_keeps, uploads_here
from app.wishes import Wishes
from captioner.data.samples import sample_pictures
from captioner.errors import ConfigError
from captioner.inference.captioner import Captioner
from captioner.model.captioning import CaptioningModel
from tests.served import Served, serve

# Writes down every look-up and every connection that the program attempts.
WATCH = """
import os, sys
log = open(os.environ["WATCHED"], "a", buffering=1)
def watch(event, arguments):
    if event in ("socket.getaddrinfo", "socket.gethostbyname"):
        log.write(f"{arguments[0]}\\n")
    elif event == "socket.connect" and isinstance(arguments[1], tuple):
        log.write(f"{arguments[1][0]}\\n")
sys.addaudithook(watch)
"""


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the served page's look-ups and connections are written down."""
    return tmp_path_factory.mktemp("watched") / "hosts.txt"


@pytest.fixture(scope="module")
def served(model_folder: Path, watched: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    (watched.parent / "sitecustomize.py").write_text(WATCH)
    with serve(
        *("--model", model_folder, "--home", watched.parent / "home"),
        temporary=tmp_path_factory.mktemp("temporary"),
        PYTHONPATH=str(watched.parent),
        WATCHED=str(watched),
    ) as served:
        yield served


@pytest.fixture(scope="module")
def address(served: Served) -> str:
    return served.address


@pytest.fixture(scope="module")
def client(address: str) -> Iterator[Client]:
    client = Client(address, verbose=False, analytics_enabled=False)
    yield client
    client.close()


def uploaded(address: str, path: Path) -> dict[str, Any]:
    """What a visitor's browser sends in place of a picture, once that is uploaded."""
    with path.open("rb") as file:
        [stored] = httpx.post(f"{address}gradio_api/upload", files={"files": file}, trust_env=False).json()
    return {"path": stored, "meta": {"_type": "gradio.FileData"}}


@cache
def page_of(address: str) -> dict[str, Any]:
    """What the page consists of."""
    told: dict[str, Any] = httpx.get(f"{address}config", trust_env=False).json()
    return told


def question(address: str, payload: Any, session: str) -> httpx.Response:
    """The answer to a question with `payload` where a picture should stand: it waits, or it is refused."""
    config = page_of(address)
    [function] = [function for function in config["dependencies"] if function["api_name"] == "caption"]
    stored = {part["id"]: part["props"].get("value") for part in config["components"]}
    call = {
        "data": [payload, *(stored[part] for part in function["inputs"][1:])],
        "fn_index": function["id"],
        "session_hash": session,
    }
    return httpx.post(f"{address}gradio_api/queue/join", json=call, trust_env=False)


def answer_to(address: str, payload: Any, session: str) -> str:
    """What comes in the end."""
    joined = question(address, payload, session)
    if joined.status_code != 200:
        assert joined.status_code < 500
        return joined.text
    data = {"session_hash": session}
    return httpx.get(f"{address}gradio_api/queue/data", params=data, trust_env=False, timeout=60).text


def run(story: Coroutine[Any, Any, None]) -> None:
    """As asyncio.run, which would drop the loop that Gradio made in this thread, still open."""
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        runner.run(story)


class Answer(NamedTuple):
    """To a request whose path went out letter by letter as it was."""

    status: int
    told: str
    sent_to: str


def raw(address: str, path: str, **headers: str) -> Answer:
    with contextlib.closing(HTTPConnection(urlsplit(address).netloc, timeout=30)) as connection:
        connection.request("GET", f"/{path}", headers=headers)
        answer = connection.getresponse()
        return Answer(answer.status, answer.read().decode(errors="replace"), answer.getheader("location") or "")


# What is refused


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org", ""])
def test_other_machines_are_not_let_in_without_a_login(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CAPTIONER_AUTH", raising=False)
    with pytest.raises(ConfigError, match="needs a login"):
        demo(host=host)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.3.2.1", "::1", "localhost"])
def test_this_machine_needs_no_login(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CAPTIONER_AUTH", raising=False)
    assert read_login(host) is None


def test_a_login_opens_the_page_to_other_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAPTIONER_AUTH", "ada:with:colon")
    assert read_login("0.0.0.0") == ("ada", "with:colon")


@pytest.mark.parametrize("given", ["", "ada", "ada:", ":secret"])
def test_half_a_login_is_none(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAPTIONER_AUTH", given)
    with pytest.raises(ConfigError, match="user:password"):
        read_login("127.0.0.1")


@pytest.mark.filterwarnings("ignore")  # what Gradio leaves open is not ours
def test_a_port_that_is_taken_is_a_sentence(model: CaptioningModel) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, Desk({"m": Captioner(model)}) as desk:
        port, stored = taken.getsockname()[1], uploads_here(OWN)
        told = f"^The page must listen on a free port of this machine, but 127.0.0.1 port {port}"
        with pytest.raises(ConfigError, match=told):
            launch(build_page(desk, stored), desk, host="127.0.0.1", port=port, login=None, uploads=stored)
    gc.collect()


def test_the_page_is_not_served_by_a_gradio_whose_fetching_cannot_be_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("gradio.processing_utils.async_ssrf_protected_download")
    with pytest.raises(ConfigError, match=r"^Gradio must have async_ssrf_protected_download.*pip install 'gradio>=6"):
        launch(page := Mock(), Mock(), host="127.0.0.1", port=None, login=None, uploads=Mock())
    page.launch.assert_not_called()


# Advisories of Gradio and what was learnt from them; what a path must not lead to.
PROBES = [
    ("CVE-2026-59806: an address of this machine", "http://127.0.0.1:7/x"),
    ("CVE-2026-59806: of the cloud's own service", "http://169.254.169.254/latest/meta-data"),
    ("CVE-2026-59806: of anybody", "https://captions.example/x.jpg"),
    ("CVE-2026-59806: in capitals", "HTTPS://captions.example/x.jpg"),
    ("CVE-2026-59806: after a blank", "%20http://captions.example/x.jpg"),
    ("CVE-2026-59806: without a scheme", "//captions.example/x.jpg"),
    ("CVE-2026-28414: an absolute path", "/etc/passwd"),
    ("CVE-2026-28414: one with more strokes", "//etc/passwd"),
    ("CVE-2026-28414: one of Windows", "C:/windows/win.ini"),
    ("CVE-2026-28414: with backslashes", "\\windows\\win.ini"),
    ("CVE-2026-28414: on another machine", "\\\\captions.example\\share\\x"),
    ("CVE-2025-23042: in capitals", "/ETC/PASSWD"),
    ("CVE-2024-47164: upwards", "../../../../etc/passwd"),
    ("CVE-2024-47164: upwards, encoded", "..%2f..%2f..%2fetc%2fpasswd"),
    ("CVE-2024-47164: upwards, encoded twice", "..%252f..%252fetc%252fpasswd"),
    ("CVE-2024-47164: upwards out of the uploads", "{uploads}/../../../etc/passwd"),
    ("CVE-2024-47164: upwards in short words", "{uploads}/..%2f..%2f..%2f..%2fetc/passwd"),
    ("CVE-2024-1561: a scheme of files", "file:///etc/passwd"),
    ("the program itself", "app/interface.py"),
    ("the project", "pyproject.toml"),
    ("a listing of the uploads", "{uploads}"),
    ("a NUL", "{uploads}/x%00.jpg"),
    ("a NUL after what may be read", "/etc/passwd%00.jpg"),
    ("nothing", ""),
]


@pytest.mark.parametrize("path", [path for _, path in PROBES], ids=[story for story, _ in PROBES])
def test_a_path_leads_to_no_file_but_an_upload(served: Served, path: str) -> None:
    [uploads] = served.uploads.glob("captioner-*")
    for route in ("gradio_api/file=", "file=", "gradio_api/file/", "file/"):
        status, told, _ = raw(served.address, route + path.replace("{uploads}", str(uploads)))
        assert status in (403, 404)
        assert "root:" not in told


@given(st.lists(st.sampled_from(["..", ".", "", "etc", "passwd", "\0", "\\", "~", "%2e%2e", "up", "…"]), max_size=8))
def test_whatever_is_held_to_be_an_upload_lies_below_the_uploads(parts: list[str]) -> None:
    folder = Path("/nowhere/uploads")
    for path in ("/".join(parts), f"/nowhere/uploads/{'/'.join(parts)}"):
        if Uploads(folder, OWN).holds(path):
            assert Path(os.path.normpath(path)).is_relative_to(folder)
            assert "\0" not in path


@pytest.mark.parametrize(
    ("story", "path"),
    [
        ("PYSEC-2026-2178: fetched for the visitor", "gradio_api/proxy=https://captions.example/x"),
        ("CVE-2026-28416: of another application", "proxy=https://captions.example/x"),
        ("CVE-2026-28415: sent elsewhere after a login", "login/huggingface?_target_url=https://captions.example"),
        ("CVE-2026-28415: and after a log-out", "logout?_target_url=https://captions.example"),
        ("GHSA-6v6g: a file named in JSON", "?deep_link=..%2f..%2fetc%2fpasswd"),
        ("CVE-2024-47868: a component's own files", "gradio_api/custom_component/x/client/template/..%2f..%2fx"),
        ("CVE-2023-51449: the theme", "theme.css/../../etc/passwd"),
        ("the program's assets", "assets/..%2f..%2f..%2f..%2fetc%2fpasswd"),
        ("and what is static", "static/..%2f..%2f..%2f..%2fetc%2fpasswd"),
    ],
)
def test_nothing_else_leads_out(address: str, story: str, path: str) -> None:
    status, told, sent_to = raw(address, path)
    assert status < 500, story
    assert "root:" not in told
    assert "captions.example" not in sent_to


@pytest.mark.parametrize(
    "path",
    [
        *("process_recording", "component_server", "component_server/", "stream/x", "stream/x/close"),
        *("vibe-edit", "undo-vibe-edit/", "vibe-code", "vibe-starter-queries", "run-history/connect"),
        *("nowhere", "uploads", "queue/join/x"),
    ],
)
def test_nothing_is_sent_but_where_the_page_and_programs_send(address: str, path: str) -> None:
    reply = httpx.post(f"{address}gradio_api/{path}", files={"files": ("x.webm", b"x")}, trust_env=False)
    assert (reply.status_code, reply.json()) == (404, {"detail": "There is nothing here."})


def test_no_session_s_contents_are_written_down(served: Served) -> None:
    """As deep links, which are kept for ever; nor are streams, or another host's answers, to be had."""
    for path in ("deep_link", "deep_link?session_hash=upload", "stream/x/1/2/playlist.m3u8", "proxy=https://x.example"):
        assert raw(served.address, f"gradio_api/{path}").told == '{"detail":"There is nothing here."}'
    assert list(served.uploads.rglob("deep_links")) == []


def test_no_part_of_the_page_reads_the_machine_s_files_or_loads_another_page(address: str) -> None:
    """CVE-2026-49119 (FileExplorer), CVE-2026-28415 and 27167 (LoginButton), PYSEC-2026-2178 (gr.load)."""
    config = httpx.get(f"{address}config", trust_env=False).json()
    assert not {part["type"] for part in config["components"]} & {"fileexplorer", "loginbutton", "logoutbutton"}
    assert all(part["props"].get("proxy_url") is None for part in config["components"])
    assert config["space_id"] is None


# What stands where a picture should; HOST is asked for a connection.
VECTORS = [
    "http://127.0.0.1:{port}/x.jpg",
    "http://localhost:{port}/x.jpg",
    "http://0.0.0.0:{port}/x.jpg",
    "http://[::1]:{port}/x.jpg",
    "http://[::ffff:127.0.0.1]:{port}/x.jpg",
    "http://2130706433:{port}/x.jpg",
    "http://0177.0.0.1:{port}/x.jpg",
    "http://127.1:{port}/x.jpg",
    "http://127.0.0.1.nip.example:{port}/x.jpg",
    "http://10.0.0.1/x.jpg",
    "http://100.64.0.1/x.jpg",
    "http://169.254.169.254/latest/meta-data",
    "https://captions.example/x.jpg",
    "https://huggingface.co/x.jpg",
    "ftp://127.0.0.1:{port}/x.jpg",
    "file:///etc/passwd",
    "/etc/passwd",
    "{readable}",
    "{uploads}/../../../etc/passwd",
    "/etc/pass\0wd",
    "",
]


@pytest.fixture(scope="module")
def listener() -> Iterator[list[str]]:
    """What was asked of a server on this machine; the last entry is its port until somebody asks."""
    asked: list[str] = []

    class Listener(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Listener) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        asked.append(str(server.server_port))
        yield asked
        server.shutdown()


def test_an_upload_is_captioned(address: str, pictures: list[Path]) -> None:
    assert "log_probability" in answer_to(address, uploaded(address, pictures[0]), "upload")


@pytest.mark.parametrize("vector", VECTORS)
def test_cve_2024_47167_what_stands_in_place_of_an_upload_is_neither_read_nor_fetched(
    served: Served, listener: list[str], vector: str
) -> None:
    [uploads] = served.uploads.glob("captioner-*")
    place = vector.format(port=listener[0], readable=sample_pictures()[0], uploads=uploads)
    about = {"meta": {"_type": "gradio.FileData"}}
    for number, payload in enumerate(
        [{"path": place, **about}, {"path": str(sample_pictures()[0]), "url": place, **about}, place]
    ):
        told = answer_to(served.address, payload, f"{vector}{number}")
        assert "log_probability" not in told
        assert "root:" not in told
    assert len(listener) == 1


@pytest.mark.parametrize("name", ["drawing.svg", "page.html", "page.xhtml", "script.js"])
def test_cve_2024_47872_what_could_run_in_a_browser_comes_back_as_a_download(
    address: str, tmp_path: Path, name: str
) -> None:
    (tmp_path / name).write_text("<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>")
    path = uploaded(address, tmp_path / name)["path"]
    reply = httpx.get(f"{address}gradio_api/file={path}", trust_env=False)
    assert reply.status_code == 200
    assert reply.headers["content-disposition"].startswith("attachment")
    assert reply.headers["content-type"] == "application/octet-stream"
    assert reply.headers["x-content-type-options"] == "nosniff"


def test_an_upload_is_found_by_those_alone_who_were_told_its_address(address: str, pictures: list[Path]) -> None:
    """Gradio binds no file to a session: what protects it is a name made of a secret and its contents."""
    path = Path(uploaded(address, pictures[0])["path"])
    contents = pictures[0].read_bytes()
    assert len(path.parent.name) == 64
    assert path.parent.name != sha256(contents).hexdigest()
    guessed = path.parent.with_name(sha256(contents).hexdigest()) / path.name
    for other in (path.parent, path.parent.parent, guessed):
        assert httpx.get(f"{address}gradio_api/file={other}", trust_env=False).status_code == 403


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Origin": "{own}"}, 200),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "{own}.evil.example"}, 403),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "https://known.to.a.proxy.example"}, 200),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "{own}"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
    ],
)
def test_cve_2024_1727_another_site_cannot_upload_in_a_visitor_s_name(
    served: Served, headers: dict[str, str], status: int
) -> None:
    before = set(served.uploads.rglob("*.jpg"))
    own = served.address.rstrip("/")
    given = {name: value.replace("{own}", own) for name, value in headers.items()}
    content = f"{headers}".encode()
    reply = httpx.post(
        f"{served.address}gradio_api/upload", files={"files": ("x.jpg", content)}, headers=given, trust_env=False
    )
    assert reply.status_code == status
    assert len(set(served.uploads.rglob("*.jpg")) - before) == (status == 200)


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:7860", "127.0.0.1.evil.example", "192.168.1.5", "[", ""]
)
def test_a_name_that_was_bent_to_this_machine_is_not_answered(address: str, host: str) -> None:
    """DNS rebinding: for the browser the foreign page and this one are then of one origin."""
    assert raw(address, "config", Host=host)[0] in (400, 403)


def test_cve_2024_47084_a_foreign_page_gets_no_permission(address: str) -> None:
    for origin in ("https://evil.example", "null"):
        reply = httpx.get(f"{address}config", headers={"Origin": origin}, trust_env=False)
        assert "access-control-allow-origin" not in reply.headers


def test_every_answer_forbids_other_hosts_frames_and_guessing(address: str) -> None:
    for path in ("", "config", "health", "gradio_api/file=/etc/passwd", "nowhere", "static/img/logo.svg"):
        headers = httpx.get(f"{address}{path}", trust_env=False).headers
        assert {name: headers.get(name) for name in HEADERS} == HEADERS
    assert "http" not in HEADERS["Content-Security-Policy"].replace("https://", "http")


@pytest.mark.parametrize(
    ("story", "length", "path"),
    [
        ("a question of 6 MB", 6_000_000, "gradio_api/queue/join"),
        ("an upload of 50 GB", 50_000_000_000, "gradio_api/upload"),
    ],
)
def test_too_long_a_body_is_refused_before_it_is_read(address: str, story: str, length: int, path: str) -> None:
    with socket.create_connection(("127.0.0.1", urlsplit(address).port or 0), timeout=30) as line:
        line.sendall(f"POST /{path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n".encode())
        assert line.recv(1000).startswith((b"HTTP/1.1 413", b"HTTP/1.1 503")), story


def test_an_upload_holds_files_and_nothing_else(address: str) -> None:
    """Gradio would gather anything else in memory."""
    reply = httpx.post(f"{address}gradio_api/upload", files={"files": (None, b"x" * 1000)}, trust_env=False)
    assert reply.status_code == 400
    assert "Too many fields" in reply.text


def test_a_body_that_does_not_say_how_long_it_is_is_refused(address: str) -> None:
    reply = httpx.post(f"{address}gradio_api/upload", content=iter([b"x"]), trust_env=False)
    assert reply.status_code == 411


@pytest.mark.parametrize(
    ("story", "request_bytes"),
    [
        ("a header of 1 MB", b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 1_000_000 + b"\r\n\r\n"),
        ("a NUL in a header", b"GET / HTTP/1.1\r\nHost: localhost\r\nX: a\0b\r\n\r\n"),
        ("no HTTP", b"\x16\x03\x01" + bytes(range(256))),
        ("two lengths", b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"),
        ("a negative length", b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n"),
    ],
)
def test_what_is_no_request_gets_an_error_and_the_page_goes_on(address: str, story: str, request_bytes: bytes) -> None:
    here = ("127.0.0.1", urlsplit(address).port or 0)
    with socket.create_connection(here, timeout=30) as line, contextlib.suppress(ConnectionError):
        line.sendall(request_bytes)
        assert line.recv(100)[:10] in (b"HTTP/1.1 4", b""), story
    assert httpx.get(f"{address}health", trust_env=False).status_code == 200


@pytest.mark.parametrize("name", ["a" * 100_000 + ".jpg", "../../up.jpg", "a\0b.jpg", "\\\\host\\x.jpg", ".", "\n.jpg"])
def test_a_strange_file_name_harms_nobody(served: Served, name: str) -> None:
    reply = httpx.post(
        f"{served.address}gradio_api/upload", files={"files": (name, b"strange")}, trust_env=False, timeout=60
    )
    assert reply.status_code < 500
    [uploads] = served.uploads.glob("captioner-*")
    assert all(path.is_relative_to(uploads) for path in served.uploads.rglob("*.jpg"))


def test_a_flood_of_sessions_is_answered_and_the_page_goes_on(address: str) -> None:
    with httpx.Client(trust_env=False, base_url=address, timeout=60) as visitor:
        for number in range(100):
            reply = visitor.post("gradio_api/run/version", json={"data": [], "session_hash": f"flood{number}"})
            assert reply.status_code == 200, reply.text
        assert visitor.get("health").json()["status"] == "ok"


def test_monitoring_and_run_history_are_off_and_three_functions_are_public(address: str) -> None:
    config = httpx.get(f"{address}config", trust_env=False).json()
    assert httpx.get(f"{address}gradio_api/monitoring", trust_env=False).status_code in (403, 404)
    assert config["run_history"] is False
    assert config["analytics_enabled"] is False
    public = [function["api_name"] for function in config["dependencies"] if function["api_visibility"] == "public"]
    assert public == ["caption", "vocabulary", "version"]


def test_health_and_version_are_told(address: str) -> None:
    health = httpx.get(f"{address}health", trust_env=False)
    assert health.status_code == 200
    told = health.json()
    assert told.pop("seconds_up") > 0
    assert told == {"status": "ok", "version": captioner.__version__, "models": ["tiny"]}
    assert httpx.get(f"{address}version", trust_env=False).json() == {"version": captioner.__version__}


def test_the_page_looked_up_no_name_and_called_no_other_machine(address: str, watched: Path, client: Client) -> None:
    """After all of the above; a program's own call is made as well."""
    assert client.predict(api_name="/version") == captioner.__version__
    hosts = set(watched.read_text().split())
    assert hosts <= {"127.0.0.1", "None", "localhost"}


# What is kept


def test_old_uploads_go_with_their_folders_and_new_ones_stay(tmp_path: Path) -> None:
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.jpg").touch()
    (tmp_path / "partial").touch()
    later = time.time() + 2 * OWN.kept_seconds
    uploads = Uploads(tmp_path, OWN)
    uploads.sweep()
    assert len(list(tmp_path.iterdir())) == 3
    with patch("time.time", return_value=later):
        uploads.sweep()
    assert list(tmp_path.iterdir()) == []


def test_what_goes_wrong_once_does_not_end_the_sweeping(tmp_path: Path) -> None:
    uploads = Uploads(tmp_path, replace(OWN, kept_seconds=0.01))
    swept: list[int] = []

    def sweep() -> None:
        swept.append(len(swept))
        if len(swept) == 1:
            raise RecursionError

    async def serve() -> None:
        async with uploads.swept(None):
            while len(swept) < 3:
                await asyncio.sleep(0.01)

    with patch.object(uploads, "sweep", sweep):
        run(asyncio.wait_for(serve(), timeout=30))


def test_a_copy_is_as_young_as_the_copying_however_old_its_contents_are(tmp_path: Path) -> None:
    (tmp_path / "x.jpg").touch()
    os.utime(tmp_path / "x.jpg", (0, 0))
    Uploads(tmp_path, OWN).sweep()
    assert (tmp_path / "x.jpg").exists()


def test_the_uploads_are_bounded(tmp_path: Path) -> None:
    assert _room(tmp_path) == 1_000_000
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.jpg").write_bytes(b"x" * 900_000)
    assert _room(tmp_path) == 100_000
    os.link(tmp_path / "a" / "x.jpg", tmp_path / "another name of x.jpg")
    assert _room(tmp_path) == 100_000
    (tmp_path / "y.jpg").write_bytes(b"x" * 900_000)
    assert _room(tmp_path) == 0


def _room(folder: Path) -> int:
    """The bytes that may still come, of the megabyte that may be stored."""
    limits = replace(OWN, stored_megabytes=1)
    return bisect.bisect(range(1, 1_000_001), False, key=lambda length: not Uploads(folder, limits).have_room(length))


def test_the_folder_is_looked_through_only_now_and_then_when_room_may_be_short_and_after_a_sweep(
    tmp_path: Path,
) -> None:
    uploads = Uploads(tmp_path, replace(OWN, stored_megabytes=1))

    def looks(length: int, *, later: float = 0) -> tuple[bool, bool]:
        now = time.monotonic() + later
        with patch("os.scandir", wraps=os.scandir) as scan, patch("time.monotonic", return_value=now):
            return uploads.have_room(length), scan.called

    assert looks(300_000) == (True, True)
    with uploads.awaited(300_000):
        assert looks(300_000) == (True, False)
        assert looks(800_000) == (False, True)
    assert looks(300_000) == (True, False)
    # What came is the same file as before, so that it takes no room.
    assert looks(800_000) == (True, True)
    uploads.sweep()
    assert looks(1) == (True, True)
    (tmp_path / "unpacked.png").write_bytes(b"x" * 900_000)
    assert looks(300_000) == (True, False)
    assert looks(300_000, later=60) == (False, True)
    assert uploads.room() == 100_000


def test_what_is_swept_while_the_uploads_are_counted_takes_no_room(tmp_path: Path) -> None:
    for name in ("swept.jpg", "there.jpg"):
        (tmp_path / name).write_bytes(b"x" * 1_000)
    with os.scandir(tmp_path) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    (tmp_path / "swept.jpg").unlink()
    with patch("os.scandir") as scan:
        scan.return_value.__enter__.return_value = entries
        assert _room(tmp_path) == 1_000_000 - 1_000


@pytest.mark.parametrize(
    ("path", "lengths", "statuses"),
    [
        ("upload", [600_000, 600_000, 400_000], [200, 503, 200]),
        ("mcp/", [600_000, 600_000, 400_000], [200, 503, 200]),
        ("call/slow", [600_000, 600_000, 600_000], [200, 200, 200]),
    ],
)
def test_pictures_that_come_at_the_same_time_get_no_more_room_than_there_is(
    tmp_path: Path, path: str, lengths: list[int], statuses: list[int]
) -> None:
    async def story() -> None:
        uploads = Uploads(tmp_path, replace(OWN, stored_megabytes=1))
        asking = Asking(Door(uploads, OWN, login=False))
        replies = [
            asyncio.create_task(asking.client.post(f"/gradio_api/{path}", content=b"x" * length)) for length in lengths
        ]
        await asking.asked.wait()
        asking.may.set()
        assert [(await reply).status_code for reply in replies] == statuses
        assert uploads.have_room(1_000_000)
        await asking.client.aclose()

    run(story())


@pytest.mark.parametrize("limits", [OWN, PUBLIC])
def test_nothing_is_kept_longer_than_the_page_says(tmp_path: Path, limits: Limits) -> None:
    (tmp_path / "x.jpg").touch()
    uploads, came, keeps = Uploads(tmp_path, limits), time.time(), gradio_keeps(limits)
    # The last sweep that still lets it stay, and the next.
    for seconds, stays in ((1.2 * keeps - 1, True), (1.3 * keeps, False)):
        with patch("time.time", return_value=came + seconds):
            uploads.sweep()
        assert (tmp_path / "x.jpg").exists() == stays
    assert 1.3 * keeps == pytest.approx(limits.kept_seconds, abs=1)


def test_what_one_visitor_is_told_to_bring_fits_in_every_form_it_has_here() -> None:
    hundred_photographs_of_40_megapixels = 100 * 25  # MB
    assert OWN.together_megabytes >= hundred_photographs_of_40_megapixels
    assert PUBLIC.together_megabytes >= PUBLIC.pictures * PUBLIC.file_megabytes
    for limits in (OWN, PUBLIC):
        assert limits.file_megabytes < limits.together_megabytes <= limits.stored_megabytes / 4


# Strangers


def test_the_help_of_public_tells_each_limit_that_is_not_one_s_own() -> None:
    told = PUBLIC.told(unlike=OWN)
    assert told == (
        "5 MB a file, 50 pictures in one go, 1,000 MB of uploads in all, uploads deleted within 10 "
        "minutes, no teaching, under any name"
    )
    assert OWN.told(unlike=OWN) == ""
    for limit in fields(PUBLIC):
        if not isinstance(getattr(PUBLIC, limit.name), bool):
            assert getattr(PUBLIC, limit.name) <= getattr(OWN, limit.name)


def test_health_and_version_need_no_login_all_else_does_and_strangers_get_the_stricter_limits(
    model_folder: Path, tmp_path: Path
) -> None:
    options = ("--public", "--model", model_folder)
    with (
        serve(*options, temporary=tmp_path, CAPTIONER_AUTH="ada:secret") as served,
        httpx.Client(trust_env=False, base_url=served.address, timeout=60) as visitor,
    ):
        assert visitor.get("health").json() == {"status": "ok", "version": captioner.__version__}
        assert visitor.get("version").json() == {"version": captioner.__version__}
        assert visitor.get("config").status_code == visitor.get("gradio_api/info").status_code == 401
        assert visitor.post("gradio_api/upload", files={"files": ("x.jpg", b"x")}).status_code == 401
        assert visitor.post("gradio_api/queue/join", json={"data": []}).status_code == 401
        assert visitor.post("login", data={"username": "ada", "password": "guess"}).status_code == 400
        assert visitor.post("login", data={"username": "ada", "password": "secret"}).status_code == 200
        config = visitor.get("config", headers={"Host": "captions.example"})
        assert config.status_code == 200
        assert "teach" not in {part["props"].get("elem_id") for part in config.json()["components"]}
        heavy = {"files": ("heavy.jpg", b"\xff" * 5_500_000, "image/jpeg")}
        assert visitor.post("gradio_api/upload", files=heavy).status_code == 413


# For programs and language models


def test_every_function_for_programs_and_each_of_its_arguments_is_described(client: Client) -> None:
    functions = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    assert set(functions) == {"/caption", "/vocabulary", "/version"}
    names = {name: [argument["parameter_name"] for argument in told["parameters"]] for name, told in functions.items()}
    assert names["/version"] == []
    assert names["/vocabulary"] == ["search", "limit", "model"]
    assert names["/caption"] == ["picture", "model", *(field.name for field in fields(Wishes))]
    for told in functions.values():
        assert told["description"].endswith(".")
        assert all(argument["label"] for argument in told["parameters"])


def test_a_program_searches_the_vocabulary(client: Client, model: CaptioningModel) -> None:
    told = client.predict(search="chil", api_name="/vocabulary")
    assert told == {"known": len(model.vocabulary.counts), "found": 1, "words": [["children", 1]]}


def test_mcp_without_its_package_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.__main__.find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"pip install 'captioner\[mcp\]'"):
        demo(mcp=True)


@pytest.mark.skipif(find_spec("mcp") is None, reason="the extra captioner[mcp] is not installed")
def test_language_models_get_the_three_functions_as_tools_with_every_argument_described(
    model_folder: Path, tmp_path: Path, pictures: list[Path]
) -> None:
    from mcp import ClientSession
    from mcp.client.streamable_http import streamable_http_client

    picture = f"data:image/png;base64,{b64encode(pictures[0].read_bytes()).decode()}"

    async def story(address: str) -> None:
        async with (
            streamable_http_client(f"{address}gradio_api/mcp/") as (reading, writing, _),
            ClientSession(reading, writing) as session,
        ):
            await session.initialize()
            tools = {tool.name: tool for tool in (await session.list_tools()).tools}
            assert set(tools) == {"caption", "vocabulary", "version"}
            for tool in tools.values():
                assert tool.description
                assert all(told.get("description") for told in tool.inputSchema["properties"].values())
            assert "log_probability" in str(await session.call_tool("caption", {"picture": picture}))
            fetched = await session.call_tool("caption", {"picture": "https://captions.example/x.jpg"})
            assert fetched.isError

    options = ("--mcp", "--model", model_folder, "--home", tmp_path / "home")
    with serve(*options, temporary=tmp_path) as served:
        run(story(served.address))


@pytest.mark.parametrize(("public", "limits", "models"), [(False, OWN, ["tiny", "kept"]), (True, PUBLIC, ["tiny"])])
def test_public_applies_the_stricter_limits_and_leaves_one_s_home_alone(
    model_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    public: bool,
    limits: Limits,
    models: list[str],
) -> None:
    copytree(model_folder, tmp_path / "models" / "kept")
    monkeypatch.setattr(os, "environ", dict(os.environ))
    monkeypatch.setattr("app.interface.build_page", build := Mock())
    monkeypatch.setattr("app.interface.launch", launched := Mock(side_effect=ConfigError("Enough.")))
    with pytest.raises(ConfigError, match="Enough"):
        demo(model=[str(model_folder)], home=tmp_path, public=public)
    desk, uploads, home = build.call_args.args
    assert uploads.limits is limits
    assert launched.call_args.kwargs["uploads"] is uploads
    assert list(desk.models) == models
    assert (home is None) == public


# The end


class Asking:
    """Requests to an application behind a door, without a server."""

    def __init__(self, door: Door) -> None:
        self.door = door
        self.asked, self.may = asyncio.Event(), asyncio.Event()
        app = door.before(Starlette(routes=[Route("/gradio_api/{path:path}", self.slow, methods=["POST"])]))
        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost")

    async def slow(self, _request: Request) -> PlainTextResponse:
        self.asked.set()
        await self.may.wait()
        return PlainTextResponse("Late, but here.")


def test_what_runs_is_finished_before_the_end_and_nobody_new_is_let_in() -> None:
    async def story() -> None:
        asking = Asking(Door(Uploads(Path(), OWN), OWN, login=False))
        waiting = asyncio.create_task(asking.client.post("/gradio_api/call/slow"))
        await asking.asked.wait()
        draining = asyncio.create_task(asyncio.to_thread(asking.door.drain, seconds=30))
        while not asking.door.closing:
            await asyncio.sleep(0.01)
        refused = await asking.client.post("/gradio_api/call/slow")
        assert (refused.status_code, refused.json()["detail"][:24]) == (503, "This page is being ended")
        assert not draining.done()
        asking.may.set()
        assert (await waiting).text == "Late, but here."
        assert await draining is True
        await asking.client.aclose()

    run(story())


def test_what_takes_too_long_is_not_waited_for() -> None:
    async def story() -> None:
        asking = Asking(Door(Uploads(Path(), OWN), OWN, login=False))
        waiting = asyncio.create_task(asking.client.post("/gradio_api/call/slow"))
        await asking.asked.wait()
        assert await asyncio.to_thread(asking.door.drain, seconds=0.05) is False
        asking.may.set()
        await waiting
        await asking.client.aclose()

    run(story())


def test_health_says_when_the_page_is_being_ended() -> None:
    door = Door(Uploads(Path(), OWN), OWN, login=False)
    [health, _] = condition_routes(Mock(models=("m",)), door, login=False)
    door.closing = True
    told = health.endpoint(Mock())
    assert (told.status_code, json.loads(told.body)["status"]) == (503, "closing")
