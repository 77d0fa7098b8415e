#!/usr/bin/env python3
"""Compiles all that the GPU suite and the benchmarks run; needs flamec, NVRTC, NumPy and onnx, and no GPU.

    make_all.py --flamec FLAMEC [--gpu sm_90a] [--jobs N] [--filter REGEX] [--only NAME,NAME…] [--archives] PACK

Suites come into PACK/suites, or with --archives into PACK/NAME.tar.gz for another machine; what benchmarks run into PACK/NAME.
The status is 1 if something could not be compiled.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import os
import pathlib
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
# name: program of this folder, its options beside those of all
SUITES = {
    "onnx": ("pack_suite.py", []),
    "contract": ("make_contract_cases.py", []),
    "tf32": ("make_contract_cases.py", ["--precision", "tf32", "--filter", "_f32"]),
    "attention": ("make_attention_cases.py", []),
    "forms": ("make_form_cases.py", []),
    "reduce": ("make_reduce_cases.py", []),
}
# name: program of tools/lib with a command `make`, whether it takes a filter
BENCHMARKS = {
    "rows": ("bench_rows.py", True), "short": ("bench_short.py", False), "attention": ("bench_attention.py", True),
    "matrix": ("bench_matrix.py", True), "decode": ("bench_decode.py", False), "flux": ("bench_flux.py", True),
}  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flamec", required=True, type=pathlib.Path)
    parser.add_argument("--gpu", default="sm_90a")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--filter", default="")
    parser.add_argument("--only", default="", help="some suites (onnx …, runtime) and benchmarks (bench-rows …)")
    parser.add_argument("--archives", action="store_true")
    parser.add_argument("pack", type=pathlib.Path)
    args = parser.parse_args()
    common = ["--flamec", args.flamec, "--gpu", args.gpu]
    commands = []
    for name, (program, options) in SUITES.items():
        out = args.pack / (f"{name}.tar.gz" if args.archives else f"suites/{name}")
        chosen = ["--filter", args.filter] if args.filter else []
        commands.append((name, [f"test/gpu/{program}", *common, "--jobs", args.jobs, *options, *chosen, out]))
    commands.append(("runtime", ["test/gpu/make_runtime_cases.py", *common, args.pack / "runtime"]))
    for name, (program, filtered) in BENCHMARKS.items():
        chosen = ["--filter", args.filter] if args.filter and filtered else []
        commands.append((f"bench-{name}", [f"tools/lib/{program}", "make", *common, *chosen, args.pack / name]))
    failed, only = [], set(filter(None, args.only.split(",")))
    if unknown := only - {name for name, _ in commands}:
        parser.error(f"--only knows {', '.join(name for name, _ in commands)}, not {', '.join(sorted(unknown))}")

    def make(item):
        name, command = item
        start = time.perf_counter()
        done = subprocess.run([sys.executable, *map(str, command)], cwd=ROOT, capture_output=True, text=True,
                              env=os.environ | {"PYTHONPATH": f"{ROOT / 'test/e2e'}:{ROOT / 'test/gpu'}"})  # fmt: skip
        last = (done.stdout.strip() or done.stderr.strip() or "no output").splitlines()
        print(f"{name}: {time.perf_counter() - start:.0f} s, {' | '.join(last[-3:])}", flush=True)
        if done.returncode:
            print(done.stderr[-2000:], file=sys.stderr)
            failed.append(name)

    # Those of the benchmarks compile one model after the other, so some go side by side.
    with concurrent.futures.ThreadPoolExecutor(max(1, args.jobs // 4)) as pool:
        list(pool.map(make, [c for c in commands if not only or c[0] in only]))
    if failed:
        print(f"not complete: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
