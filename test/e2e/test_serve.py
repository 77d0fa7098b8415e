#!/usr/bin/env python3
"""examples/serve: built against the installed package, started, and asked for pictures."""

from __future__ import annotations

import concurrent.futures
import http.client
import io
import json
import os
import pathlib
import re
import signal
import subprocess
import tempfile

import numpy as np
import PIL.Image
from pipelines import whole
from support import BIN, ROOT, FlameTest, main

SMALL = {"width": 64, "height": 32, "steps": 2, "text_tokens": 16}


class Serve(FlameTest):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix="flame-test-")
        cls.addClassCleanup(folder.cleanup)
        shared = pathlib.Path(folder.name)

        def call(*command):
            done = subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=900)
            assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
            return done.stdout

        call("cmake", "--install", BIN.parent, "--prefix", shared / "prefix")
        call("cmake", "-G", "Ninja", "-S", ROOT / "examples/serve", "-B", shared / "build",
             f"-DCMAKE_PREFIX_PATH={shared / 'prefix'}")  # fmt: skip
        call("cmake", "--build", shared / "build")
        cls.program = shared / "build/flame-serve"
        cls.needed = re.findall(r"^\s*(\S+)", call("ldd", cls.program), re.MULTILINE)
        cls.folder = whole.make(shared / "tiny")
        cls.artifacts = shared / "artifacts"
        call(BIN / "flamec", "generate", cls.folder, "--compile-only", "--artifacts", cls.artifacts)

    def start(self, *arguments):
        command = [self.program, self.folder, "--artifacts", self.artifacts, "--port", "0", "--threads", "1", *arguments]
        server = subprocess.Popen([str(c) for c in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(server.communicate)
        self.addCleanup(server.kill)
        line = server.stdout.readline()
        self.port = int(re.fullmatch(r"listening on http://127\.0\.0\.1:(\d+)\n", line)[1])
        return server

    def ask(self, body, method="POST", path="/pictures"):
        """(status, type of the content, content)"""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)
        data = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
        connection.request(method, path, data, {"Content-Type": "application/json"})
        response = connection.getresponse()
        answer = response.status, response.getheader("Content-Type"), response.read()
        connection.close()
        return answer

    def picture(self, **values):
        status, kind, data = self.ask(SMALL | values)
        self.assertEqual((status, kind), (200, "image/png"), data[:500])
        image = PIL.Image.open(io.BytesIO(data))
        image.load()
        self.assertEqual(json.loads(image.text["parameters"])["prompt"], values["prompt"])
        return np.array(image)

    def test_the_runtime_alone(self):
        self.assertFalse([n for n in self.needed if "LLVM" in n or "MLIR" in n], self.needed)
        self.assertTrue([n for n in self.needed if n.startswith("libflame_rt")], self.needed)

    def test_a_picture_is_that_of_flamec(self):
        server = self.start()
        pixels = self.picture(prompt="A red fox", seed=5)
        done = self.flamec("generate", self.folder, "--artifacts", self.artifacts, "--prompt", "A red fox", "--seed", "5", "--size",
                           "64x32", "--steps", "2", "--text-tokens", "16", "-o", self.scratch / "x.png", "--threads", "1")  # fmt: skip
        self.ok(done)
        np.testing.assert_array_equal(pixels, np.array(PIL.Image.open(self.scratch / "x.png")))
        self.assertEqual(json.loads(self.ask(None, "GET", "/health")[2]), {"waiting": 0})
        server.send_signal(signal.SIGTERM)
        self.assertEqual(server.wait(60), 0)

    def test_bad_requests(self):
        self.start()
        for body, says in (
            (b"", "JSON object"), (b"[1]", "JSON object"), (b"{", "JSON object"), (b"\xff\xfe", "JSON object"), ({}, "'prompt' is missing"),
            ({"prompt": 3}, "'prompt' must be a text"), ({"prompt": "x" * 30_000}, "at most 20000 bytes"),
            ({"prompt": "x", "size": "64x64"}, "no field 'size'; there are guidance, height"),
            ({"prompt": "x", "seed": -1}, "'seed' must be an integer"), ({"prompt": "x", "steps": 1.5}, "'steps' must be an integer"),
            ({"prompt": "x", "width": 1 << 20, "height": 64}, "'width' must be an integer from 0 to 4096"),
            ({"prompt": "x", "width": 100, "height": 64}, "multiples of 16"), ({"prompt": "x", "guidance": "high"}, "'guidance' must"),
            ({"prompt": "x", "text_tokens": 1}, "text tokens"), (b'{"prompt": "a\\ud800"}', "JSON object"),
        ):  # fmt: skip
            with self.subTest(says, body=body):
                status, kind, data = self.ask(body)
                self.assertEqual((status, kind), (400, "application/json"), data)
                self.assertIn(says, json.loads(data)["error"])
        status, _, data = self.ask(b" " * (1 << 21))
        self.assertEqual(status, 413, data)
        status, kind, data = self.ask(None, "GET", "/nothing")
        self.assertEqual((status, kind), (404, "application/json"))
        self.assertIn("/nothing", json.loads(data)["error"])
        self.picture(prompt="still there")

    def test_concurrent_requests(self):
        self.start("--batch", "3")
        asked = [{"prompt": p, "seed": s} for p in ("A red fox", "ein Haus") for s in (1, 2, 3)]
        with concurrent.futures.ThreadPoolExecutor(len(asked) + 1) as pool:
            other = pool.submit(self.picture, prompt="another size", width=32)
            together = list(pool.map(lambda a: self.picture(**a), asked))
            self.assertEqual(other.result().shape, (32, 32, 3))
        for a, pixels in zip(asked, together):
            alone = self.picture(**a)
            self.assertLessEqual(np.abs(alone.astype(int) - pixels).max(), 1, a)

    def test_a_full_queue(self):
        server = self.start("--batch", "1", "--queue", "1")
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda seed: self.ask(SMALL | {"prompt": "x", "seed": seed, "steps": 40}), range(8)))
        statuses = [status for status, _, _ in answers]
        self.assertEqual(set(statuses), {200, 503}, answers)
        self.assertGreaterEqual(statuses.count(200), 2)
        # It ends while it works.
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            last = pool.submit(self.ask, SMALL | {"prompt": "x", "steps": 1000})
            while json.loads(self.ask(None, "GET", "/health")[2])["waiting"] == 0:
                pass
            server.send_signal(signal.SIGTERM)
            self.assertEqual(server.wait(60), 0)
            try:
                self.assertEqual(last.result()[0], 503)
            except (ConnectionError, http.client.HTTPException):
                pass  # it was closed before the answer

    def test_errors_at_the_start(self):
        def fails(says, *arguments):
            done = subprocess.run([str(self.program), *map(str, arguments)], capture_output=True, text=True, timeout=60)
            self.assertIn(done.returncode, (1, 2))
            self.assertIn(says, done.stderr)

        fails("folder of the pipeline is missing")
        fails("no option --what", self.folder, "--what", "1")
        fails("--port must be an integer", self.folder, "--port", "x")
        fails("text_encoder.flame is missing: compile", self.folder, "--artifacts", self.scratch)
        fails("model_index.json", self.scratch)


if __name__ == "__main__":
    os.environ.setdefault("NO_COLOR", "1")
    main()
