#!/usr/bin/env python3
"""Makes of FOLDER/kernels.cu, as flamec prints it, FOLDER/kernels.so for libflame_fake_cuda.so. See FakeNvrtc.cpp.

Shuffles are those by the lanes' numbers; mathematics is the host's.
"""

import argparse
import pathlib
import re
import subprocess

HEAD = """
#include "epilogue/Fold.h"
#include "epilogue/StoreSegments.h"
#include "impl/Attention.h"
#include "impl/Conv.h"
#include "impl/Gemm.h"
#include "impl/Scatter.h"
#include "impl/Simt.h"
#include "impl/Thin.h"
#include "tile/RowPipeline.h"
#include "impl/TopK.h"
#include "impl/WgmmaAttention.h"
#include "impl/WgmmaConv.h"
#include "impl/WgmmaGemm.h"
#include "tile/Team.h"
#include "tile/Ticket.h"
#include <algorithm>
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
static const Position threadIdx{{emulator::thread}}, blockIdx{{emulator::block}}, gridDim{{emulator::gridSize}};
static void __syncthreads() { emulator::syncBlock(); }
template <typename T> static T exchange(T value, int lane) {
  std::memcpy(emulator::slot(emulator::thread() % 32), &value, sizeof value);
  emulator::syncWarp();
  std::memcpy(&value, emulator::slot(lane), sizeof value);
  emulator::syncWarp();
  return value;
}
template <typename T> static T __shfl_xor_sync(unsigned, T value, unsigned mask) {
  return exchange(value, emulator::thread() % 32 ^ mask);
}
template <typename T> static T __shfl_up_sync(unsigned, T value, unsigned distance) {
  const unsigned lane = emulator::thread() % 32;
  return exchange(value, lane < distance ? lane : lane - distance);
}
template <class T, int n> struct alignas(sizeof(T) * n) flame_vector {
  T e[n];
  T operator[](int i) const { return e[i]; }
};
template <int n, class T> static flame_vector<T, n> flame_load(const T *from) {
  if (reinterpret_cast<size_t>(from) % (sizeof(T) * n))
    __builtin_trap();
  return *reinterpret_cast<const flame_vector<T, n> *>(from);
}
template <int n, class T> static void flame_store(T *to, const flame_vector<T, n> &v) {
  if (reinterpret_cast<size_t>(to) % (sizeof(T) * n))
    __builtin_trap();
  *reinterpret_cast<flame_vector<T, n> *>(to) = v;
}
template <int n, class T> static flame_vector<T, n> flame_load_stream(const T *from) { return flame_load<n>(from); }
static float flame_bf16_to_float(unsigned short x) { return flame::widen<flame::Arithmetic::BF16>(x); }
static unsigned short flame_float_to_bf16(float x) {
  unsigned bits;
  std::memcpy(&bits, &x, 4);
  if (x != x)
    return 0x7fff;
  return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}
static float flame_e4m3_to_float(unsigned char x) { return flame::widen<flame::Arithmetic::E4M3>(x); }
static unsigned char flame_float_to_e4m3(float x) { return flame::narrowByte<flame::Arithmetic::E4M3>(x); }
static unsigned char flame_float_to_e5m2(float x) { return flame::narrowByte<flame::Arithmetic::E5M2>(x); }
static float flame_e5m2_to_float(unsigned char x) { return flame::widen<flame::Arithmetic::E5M2>(x); }
static void flame_begin() {}
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
static float flame_exp(float x) { return std::exp(x); }
static float flame_reciprocal(float x) { return 1 / x; }
template <int n> static flame_vector<unsigned short, n> flame_pack_bf16(const flame_vector<float, n> &x) {
  flame_vector<unsigned short, n> y;
  for (int i = 0; i < n; ++i)
    y.e[i] = flame_float_to_bf16(x[i]);
  return y;
}
template <int n> static flame_vector<unsigned short, n> flame_pack_half(const flame_vector<float, n> &x) {
  flame_vector<unsigned short, n> y;
  for (int i = 0; i < n; ++i)
    y.e[i] = flame_float_to_half(x[i]);
  return y;
}
static float __int_as_float(int bits) { return __uint_as_float(bits); }
static double __longlong_as_double(long long bits) {
  double x;
  std::memcpy(&x, &bits, 8);
  return x;
}
static unsigned short flame_double_to_half(double x) {
  const _Float16 half = x;
  unsigned short bits;
  std::memcpy(&bits, &half, 2);
  return bits;
}
template <typename T> static long long flame_to_i64(T x) { return (long long)x; }
template <typename T> static unsigned long long flame_to_u64(T x) { return (unsigned long long)x; }
using std::max, std::min;
template <typename T> T flame_maximum(T x, T y) { return x != x ? x : y != y ? y : x > y ? x : y; }
template <typename T> T flame_minimum(T x, T y) { return x != x ? x : y != y ? y : x < y ? x : y; }
template <typename T> T flame_max(T x, T y) { return x > y ? x : y; }
template <typename T> T flame_min(T x, T y) { return x < y ? x : y; }
"""
# What a GPU has.
SHARED = 227 << 10


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cxx", required=True)
    parser.add_argument("--root", required=True, type=pathlib.Path)
    parser.add_argument("--emulator", required=True, help="emulation/Emulator.cpp, compiled")
    parser.add_argument("--gpu", required=True, help="as NVRTC's option -arch has it")
    parser.add_argument("folder", type=pathlib.Path)
    args = parser.parse_args()
    number, feature = re.fullmatch(r"(?:sm|compute)_(\d+)(\w?)", args.gpu).groups()
    by_wgmma = number == "90" and feature == "a"
    source = (args.folder / "kernels.cu").read_text()
    # Each kernel has a comment over it; what stands before the first one is the prelude and the templates.
    source = source[re.search(r"^// (attention|contract|conv|loop|loops|row|topk): ", source, re.M).start() :]
    source = re.sub(r"FLAME_IF_WGMMA\((\w+), (\w+)\)", lambda m: m[1 if by_wgmma else 2], source)
    entries = []
    shared = iter(range(1 << 30))
    source = re.sub(r"__shared__ ([\w ]+) (\w+)\[(\d+)\];",
                    lambda m: f"{m[1]} *const {m[2]} = ({m[1]} *)emulator::staticShared({next(shared)}, sizeof({m[1]}) * {m[3]});",
                    source)  # fmt: skip

    def kernel(match):
        threads, cluster, name, parameters = match.groups()
        together = "true" if "*__restrict__ state" in parameters else "false"
        given, maps = [], []
        for i, parameter in enumerate(p.strip() for p in parameters.split(",")):
            if "TensorMap" in parameter:
                maps.append(f"flame::TensorMap::of(values + {len(given) + 16 * len(maps)})")
            elif "*" in parameter:
                given.append(f"*({parameter.split('*')[0].replace('const', '').strip()} **)values[{i}]")
            else:
                given.append(f"*(const long long *)values[{i}]")
        last = [p for p in parameters.split(",") if re.search(r"\*__restrict__ (scratch|state)$", p.strip())]
        buffers = parameters.count("*") - len(last)
        entries.append(
            f'extern "C" __attribute__((visibility("default"))) const int {name}_signature[4] = '
            f"{{{buffers}, {len(given) - buffers - len(last)}, {len(last)}, {len(maps)}}};\n"
            f'extern "C" __attribute__((visibility("default"))) int {name}(void *const *values, int64_t blocks) {{\n'
            f"  const flame::TensorMap maps[] = {{{', '.join(maps) or '{}'}}};\n"
            f"  emulator::launch(blocks, {threads}, {SHARED}, [&] {{ {name}_body({', '.join(given + [f'maps[{i}]' for i in range(len(maps))])}); }}, "
            f"{together}, {cluster if cluster and int(number) >= 90 else 1});\n  return 0;\n}}\n"
        )
        parameters = parameters.replace("const __grid_constant__ flame::TensorMap ", "const flame::TensorMap &")
        return f"static void {name}_body({parameters}) {{"

    source = re.sub(
        r'extern "C" __global__ void __launch_bounds__\((\d+)(?:, \d+)?\)(?: FLAME_CLUSTER\((\d+)\))?\s*(\w+)\((.*?)\) \{',
        kernel, source, flags=re.S
    )
    text = args.folder / "kernels.cpp"
    text.write_text(HEAD + source + "".join(entries))
    emulation = args.root / "test/unit/kernels/emulation"
    command = [args.cxx, "-std=c++20", "-O1", "-w", "-shared", "-fPIC", "-fno-strict-aliasing", "-fvisibility=hidden", "-Wl,-s"]
    command += [f"-DFLAME_HAS_WGMMA={int(by_wgmma)}", f"-DFLAME_EMULATED_CLUSTERS={int(int(number) >= 90)}"]
    command += [f"-I{emulation}", f"-I{args.root / 'runtime/kernels'}", text, args.emulator]
    return subprocess.run([str(c) for c in command + ["-o", args.folder / "kernels.so"]]).returncode


if __name__ == "__main__":
    raise SystemExit(main())
