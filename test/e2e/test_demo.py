#!/usr/bin/env python3
"""What tools/demo.sh shows, behind its building: everything it says is true, and it makes a picture."""

from __future__ import annotations

import os
import subprocess
import sys

import PIL.Image
from support import BIN, ROOT, FlameTest, main


class Demo(FlameTest):
    def test_demo(self):
        command = [sys.executable, ROOT / "tools/lib/demo.py", "--flamec", BIN / "flamec", "--scratch", self.scratch / "demo"]
        done = subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=900, cwd=ROOT,
                              env={**os.environ, "PYTHONPATH": str(ROOT / "test/e2e"), "NO_COLOR": "1"})  # fmt: skip
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        with PIL.Image.open(self.scratch / "demo/fox.png") as image:
            image.load()
            self.assertEqual((image.size, image.mode), ((256, 128), "RGB"))
        self.assertIn("prompt A red fox in the snow, seed 7, steps 4", done.stdout)


if __name__ == "__main__":
    main()
