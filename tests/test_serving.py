"""How the page is served: who is let in, what is refused, and what every answer carries."""

import gc
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import pytest

from app.__main__ import demo, read_login
from app.desk import Desk
from app.interface import build_page, launch
from captioner.data.samples import sample_pictures
from captioner.errors import ConfigError
from captioner.inference.captioner import Captioner
from captioner.model.captioning import CaptioningModel
from tests.served import Served, serve


@pytest.fixture(scope="module")
def served(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serve("--model", model_folder, temporary=tmp_path_factory.mktemp("temporary")) as served:
        yield served


@pytest.fixture(scope="module")
def address(served: Served) -> str:
    return served.address


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
    desk = Desk({"m": Captioner(model)})
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        told = f"^The page must listen on a free port of this machine, but 127.0.0.1 port {port}"
        with pytest.raises(ConfigError, match=told):
            launch(build_page(desk), desk, host="127.0.0.1", port=port, login=None)
    gc.collect()


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "//etc/passwd",
        "../../../../etc/passwd",
        "..%2f..%2f..%2fetc%2fpasswd",
        "pyproject.toml",
        "app/interface.py",
        "http://169.254.169.254/latest/meta-data",
    ],
)
def test_no_file_of_the_machine_is_served(address: str, path: str) -> None:
    for route in ("gradio_api/file=", "file="):
        reply = httpx.get(f"{address}{route}{path}", trust_env=False)
        assert reply.status_code in (403, 404)
        assert "root:" not in reply.text


def test_a_path_or_an_address_in_place_of_an_upload_is_not_read(address: str, pictures: list[Path]) -> None:
    asked: list[str] = []

    class Listener(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            pass

    config = httpx.get(f"{address}config", trust_env=False).json()
    [function] = [function for function in config["dependencies"] if function["api_name"] == "caption"]
    stored = {part["id"]: part["props"].get("value") for part in config["components"]}
    settings = [stored[part] for part in function["inputs"][1:]]
    with HTTPServer(("127.0.0.1", 0), Listener) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/picture.jpg"
        readable = str(sample_pictures()[0])
        with pictures[0].open("rb") as file:
            [uploaded] = httpx.post(f"{address}gradio_api/upload", files={"files": file}, trust_env=False).json()
        for place, payload in enumerate(
            [
                {"path": uploaded},
                {"path": readable},
                {"path": url},
                {"path": readable, "url": url},
                {"path": "", "url": url},
                readable,
            ]
        ):
            if isinstance(payload, dict):
                payload["meta"] = {"_type": "gradio.FileData"}
            session = {"session_hash": f"probe{place}"}
            call = {"data": [payload, *settings], "fn_index": function["id"], **session}
            joined = httpx.post(f"{address}gradio_api/queue/join", json=call, trust_env=False)
            assert joined.status_code == 200
            told = httpx.get(f"{address}gradio_api/queue/data", params=session, trust_env=False, timeout=60).text
            assert ("log_probability" in told) == (place == 0)
        server.shutdown()
    assert asked == []


def test_a_file_over_ten_megabytes_is_refused(address: str) -> None:
    heavy = {"files": ("heavy.jpg", b"\xff" * 10_500_000, "image/jpeg")}
    assert httpx.post(f"{address}gradio_api/upload", files=heavy, trust_env=False).status_code == 413


def test_a_foreign_page_gets_no_permission(address: str) -> None:
    reply = httpx.get(f"{address}config", headers={"Origin": "https://evil.example"}, trust_env=False)
    assert "access-control-allow-origin" not in reply.headers


def test_monitoring_and_run_history_are_off_and_three_functions_are_public(address: str) -> None:
    config = httpx.get(f"{address}config", trust_env=False).json()
    assert httpx.get(f"{address}gradio_api/monitoring", trust_env=False).status_code in (403, 404)
    assert config["run_history"] is False
    assert config["analytics_enabled"] is False
    public = [function["api_name"] for function in config["dependencies"] if function["api_visibility"] == "public"]
    assert public == ["caption", "vocabulary", "version"]
