#!/usr/bin/env python3
"""Processor time of PNG files of 1024², and of zlib's deflate by runs (Z_RLE, level 1) of the same filtered rows.

bench_png.py [--lib build/release/lib]
"""

from __future__ import annotations

import argparse
import ctypes
import pathlib
import sys
import time
import zlib

import numpy as np
from bench_gpu import print_table

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "test" / "e2e"))
SIDE = 1024


def pictures():
    """(what, pixels [side, side, 3])."""
    random = np.random.default_rng(1)
    y, x = np.mgrid[:SIDE, :SIDE]
    smooth = 127 + 80 * np.sin(x * 0.01) * np.cos(y * 0.013)
    yield "smooth with little noise", np.clip(smooth[..., None] + random.normal(0, 2, (SIDE, SIDE, 3)), 0, 255).astype(np.uint8)
    yield "noise", random.integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    yield "squares of one colour", random.integers(0, 256, (16, 16, 3), np.uint8).repeat(SIDE // 16, 0).repeat(SIDE // 16, 1)


def least(function, rounds=10):
    """(the least processor time in ms, the result)."""
    times = []
    for _ in range(rounds):
        begin = time.process_time()
        result = function()
        times.append((time.process_time() - begin) * 1e3)
    return min(times), result


def rows_of(png):
    """The filtered rows that the file's stream holds."""
    at, stream = 8, b""
    while at < len(png):
        size = int.from_bytes(png[at : at + 4], "big")
        if png[at + 4 : at + 8] == b"IDAT":
            stream += png[at + 8 : at + 8 + size]
        at += size + 12
    return zlib.decompress(stream)


def by_zlib(rows):
    deflate = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS, 9, zlib.Z_RLE)
    return deflate.compress(rows) + deflate.flush()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lib", type=pathlib.Path, default=ROOT / "build/release/lib", help="folder of libflame_diffusion.so")
    args = parser.parse_args()
    from flame_diffusion import Library

    for runtime in args.lib.glob("libflame_rt.so*"):
        ctypes.CDLL(str(runtime), mode=ctypes.RTLD_GLOBAL)
    library, lines = Library(args.lib / "libflame_diffusion.so"), []
    for what, pixels in pictures():
        image = library.image(pixels)
        whole, png = least(image.png)
        rows = rows_of(bytes(png))
        theirs, stream = least(lambda rows=rows: by_zlib(rows))
        lines.append([what, f"{whole:.1f}", f"{len(png):,}", f"{theirs:.1f}", f"{len(stream):,}"])
    print_table(["picture", "file, ms", "bytes", "deflate by zlib alone, ms", "bytes"], lines, markdown=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
