"""The downloader, against a server on this machine that can be told to misbehave."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from supple.errors import DataError
from supple.progress import Event
from supple.tasks._download import download

CONTENT = bytes(range(256)) * 1000
SHA = "sha256:" + hashlib.sha256(CONTENT).hexdigest()


class Server:
    """Serves CONTENT; ``cut`` ends an answer early, ``ranges`` allows to go on."""

    def __init__(self) -> None:
        self.content = CONTENT
        self.cut: int | None = None
        self.ranges = True
        self.asked: list[str | None] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.answer(self)

            def log_message(self, *_: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/file.bin"

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        asked = handler.headers.get("Range")
        self.asked.append(asked)
        if handler.path != "/file.bin":
            handler.send_error(404)
            return
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and self.ranges else 0
        if start >= len(self.content):
            handler.send_error(416)
            return
        body = self.content[start:]
        handler.send_response(206 if start else 200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body if self.cut is None else body[: self.cut])


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.http.shutdown()
    server.http.server_close()
    thread.join()


def test_a_file_arrives_whole_and_its_bytes_are_counted(server: Server, tmp_path: Path) -> None:
    events: list[Event] = []
    target = download(server.url, tmp_path / "a" / "b.bin", checksum=SHA, progress=events.append)
    assert target.read_bytes() == CONTENT
    assert [p.name for p in target.parent.iterdir()] == ["b.bin"]
    assert events[-1].done == events[-1].total == len(CONTENT)
    assert events[-1].message == "downloading file.bin"
    assert [e.done for e in events] == sorted(e.done for e in events)


def test_a_file_that_is_there_is_not_asked_for(server: Server, tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(b"here")
    download(server.url, tmp_path / "b", checksum=SHA)
    assert server.asked == []


@pytest.mark.parametrize("ranges", [True, False])
def test_a_download_that_was_cut_off_goes_on(ranges: bool, server: Server, tmp_path: Path) -> None:
    target = tmp_path / "b"
    server.cut, server.ranges = 100_000, ranges
    with pytest.raises(DataError, match="cannot be downloaded"):
        download(server.url, target, checksum=SHA)
    assert not target.exists()
    server.cut = None
    download(server.url, target, checksum=SHA)
    assert target.read_bytes() == CONTENT
    assert server.asked == [None, "bytes=100000-"]


def test_a_part_of_another_file_is_started_over(server: Server, tmp_path: Path) -> None:
    (tmp_path / "b.part").write_bytes(CONTENT + b"more")
    download(server.url, tmp_path / "b", checksum=SHA)
    assert (tmp_path / "b").read_bytes() == CONTENT


def test_a_wrong_checksum_leaves_nothing_and_names_both(server: Server, tmp_path: Path) -> None:
    server.content = CONTENT[:-1] + b"x"
    with pytest.raises(DataError, match="not what it should be") as caught:
        download(server.url, tmp_path / "b", checksum=SHA)
    assert caught.value.data["expected"] in str(caught.value)
    assert caught.value.data["found"] == hashlib.sha256(server.content).hexdigest()
    assert list(tmp_path.iterdir()) == []


def test_md5_sums_are_checked_too(server: Server, tmp_path: Path) -> None:
    checksum = "md5:" + hashlib.md5(CONTENT).hexdigest()
    assert download(server.url, tmp_path / "b", checksum=checksum).exists()


def test_a_source_that_cannot_be_reached_says_what_to_do(server: Server, tmp_path: Path) -> None:
    for url in (server.url.replace("file.bin", "gone"), "http://127.0.0.1:9/file.bin"):
        with pytest.raises(DataError, match="cannot be downloaded") as caught:
            download(url, tmp_path / "b", checksum=SHA)
        assert url in str(caught.value)
        assert str(tmp_path / "b") in caught.value.hint
    with pytest.raises(DataError) as caught:
        download("http://127.0.0.1:9/x", tmp_path / "b", checksum=SHA, instead="put it by hand")
    assert caught.value.hint == "put it by hand"
