"""A headless Chromium spoken to over its debugging protocol, with the network off."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tornado.websocket import websocket_connect

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--hide-scrollbars", "--remote-debugging-port=0",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
)  # fmt: skip


def find_chromium() -> str | None:
    """Path of a Chromium or Chrome, or None."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class Chromium:
    """One browser, one tab at a time. `requests` holds every URL that the last page asked for."""

    def __init__(self, executable: str) -> None:
        self.folder = tempfile.mkdtemp(prefix="moebook-chromium-")
        command = [executable, *FLAGS, f"--user-data-dir={self.folder}", "about:blank"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.loop = asyncio.new_event_loop()
        self.numbers = itertools.count(1)
        self.requests: list[str] = []
        self.errors: list[str] = []
        port = self._port()
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list") as answer:
            tab = next(target for target in json.load(answer) if target["type"] == "page")
        address = tab["webSocketDebuggerUrl"]
        self.socket = self._run(lambda: websocket_connect(address, max_message_size=200_000_000))
        for domain in ("Page", "Runtime", "Network"):
            self.send(f"{domain}.enable")

    def _run(self, start: Callable[[], Any], seconds: float = 60) -> Any:
        async def waited() -> Any:
            return await asyncio.wait_for(asyncio.ensure_future(start()), seconds)

        return self.loop.run_until_complete(waited())

    def _port(self) -> int:
        path = Path(self.folder) / "DevToolsActivePort"
        for _ in range(300):
            if path.is_file() and path.read_text().strip():
                return int(path.read_text().split()[0])
            if self.process.poll() is not None:
                raise RuntimeError(f"Chromium ended with code {self.process.returncode}")
            time.sleep(0.1)
        raise RuntimeError("Chromium did not open its debugging port within 30 s")

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command and its answer; events that come before it are noted."""
        number = next(self.numbers)
        message = json.dumps({"id": number, "method": method, "params": parameters})
        self._run(lambda: self.socket.write_message(message))
        while True:
            answer = self._read()
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]

    def _read(self) -> dict[str, Any]:
        message = json.loads(self._run(lambda: self.socket.read_message()))
        event, parameters = message.get("method"), message.get("params", {})
        if event == "Network.requestWillBeSent":
            self.requests.append(parameters["request"]["url"])
        elif event == "Runtime.exceptionThrown":
            details = parameters["exceptionDetails"]
            self.errors.append(details.get("exception", {}).get("description") or details["text"])
        return message

    def open(self, path: Path, width: int = 1400, height: int = 900, dark: bool = False) -> None:
        """Load a file at a size and a colour scheme, and wait until its formulas are typeset."""
        self.requests, self.errors = [], []
        phone = width < 600
        screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone}
        self.send("Emulation.setDeviceMetricsOverride", **screen)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])
        self.send("Page.navigate", url=path.resolve().as_uri())
        ready = (
            "document.readyState === 'complete' && location.protocol === 'file:' && "
            "(!document.querySelector('.math') || !!(window.MathJax && MathJax.startup && "
            "document.querySelector('mjx-container')))"
        )
        self.wait_for(ready)

    def wait_for(self, condition: str, seconds: float = 30) -> None:
        """Wait until a JavaScript expression is true; RuntimeError, naming it, if it does not become so."""
        for _ in range(int(10 * seconds)):
            if self.evaluate(condition):
                return
            time.sleep(0.1)
        raise RuntimeError(f"not within {seconds:.0f} s: {condition}")

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression (a promise is awaited)."""
        answer = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(str(answer["exceptionDetails"].get("exception", {}).get("description")))
        return answer["result"].get("value")

    def screenshot(self, path: Path) -> None:
        """A PNG of what the window shows."""
        path.write_bytes(base64.b64decode(self.send("Page.captureScreenshot", format="png")["data"]))

    def close(self) -> None:
        self.socket.close()
        self.process.terminate()
        self.process.wait(20)
        self.loop.close()
        shutil.rmtree(self.folder, ignore_errors=True)
