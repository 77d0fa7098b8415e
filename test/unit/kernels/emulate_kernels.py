#!/usr/bin/env python3
"""Makes of FOLDER/kernels.cu, as flamec prints it, FOLDER/kernels.so for libflame_fake_cuda.so. See FakeNvrtc.cpp.

Device templates and pointwise kernels without static shared memory or shuffles are all that it knows.
"""

import argparse
import pathlib
import re
import subprocess

HEAD = """
#include "impl/Conv.h"
#include "impl/Gemm.h"
#include "impl/Simt.h"
#include "impl/Thin.h"
#include <cmath>
#include <cstdint>
#include <cstring>
using std::fmax, std::fmin;
struct Position {
  struct {
    int (*now)();
    template <typename T> operator T() const { return now(); }
  } x;
};
static const Position threadIdx{{emulator::thread}}, blockIdx{{emulator::block}};
static void flame_begin() {}
static void flame_release() {}
static float flame_half_to_float(unsigned short x) { return flame::widen<flame::Arithmetic::F16>(x); }
static unsigned short flame_float_to_half(float x) {
  const _Float16 half = x;
  unsigned short bits;
  std::memcpy(&bits, &half, 2);
  return bits;
}
static unsigned __float_as_uint(float x) {
  unsigned bits;
  std::memcpy(&bits, &x, 4);
  return bits;
}
static float __uint_as_float(unsigned bits) {
  float x;
  std::memcpy(&x, &bits, 4);
  return x;
}
template <typename T> T flame_maximum(T x, T y) { return x != x ? x : y != y ? y : x > y ? x : y; }
template <typename T> T flame_minimum(T x, T y) { return x != x ? x : y != y ? y : x < y ? x : y; }
template <typename T> T flame_max(T x, T y) { return x > y ? x : y; }
template <typename T> T flame_min(T x, T y) { return x < y ? x : y; }
"""
# More than any schedule asks for.
SHARED = 100 << 10


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cxx", required=True)
    parser.add_argument("--root", required=True, type=pathlib.Path)
    parser.add_argument("folder", type=pathlib.Path)
    args = parser.parse_args()
    source = (args.folder / "kernels.cu").read_text()
    # Each kernel has a comment over it; what stands before the first one is the prelude and the templates.
    source = source[re.search(r"^// (contract|conv|loop|loops|row): ", source, re.M).start() :]
    entries = []

    def kernel(match):
        threads, name, parameters = match[1], match[2], match[3]
        given = []
        for i, parameter in enumerate(p.strip() for p in parameters.split(",")):
            if "*" in parameter:
                given.append(f"*({parameter.split('*')[0].replace('const', '').strip()} **)values[{i}]")
            else:
                given.append(f"*(const long long *)values[{i}]")
        buffers = parameters.count("*")
        entries.append(
            f'extern "C" __attribute__((visibility("default"))) const int {name}_signature[3] = '
            f"{{{buffers}, {len(given) - buffers}, 0}};\n"
            f'extern "C" __attribute__((visibility("default"))) int {name}(void *const *values, int64_t blocks) {{\n'
            f"  emulator::launch(blocks, {threads}, {SHARED}, [&] {{ {name}_body({', '.join(given)}); }});\n  return 0;\n}}\n"
        )
        return f"static void {name}_body({parameters}) {{"

    source = re.sub(
        r'extern "C" __global__ void __launch_bounds__\((\d+)\)(?: FLAME_CLUSTER\(\d+\))?\s*(\w+)\((.*?)\) \{', kernel, source, flags=re.S
    )
    text = args.folder / "kernels.cpp"
    text.write_text(HEAD + source + "".join(entries))
    emulation = args.root / "test/unit/kernels/emulation"
    command = [args.cxx, "-std=c++20", "-O1", "-w", "-shared", "-fPIC", "-fno-strict-aliasing", "-fvisibility=hidden", "-Wl,-s"]
    command += [f"-I{emulation}", f"-I{args.root / 'runtime/kernels'}", text, emulation / "Emulator.cpp"]
    return subprocess.run([str(c) for c in command + ["-o", args.folder / "kernels.so"]]).returncode


if __name__ == "__main__":
    raise SystemExit(main())
