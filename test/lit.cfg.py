# The lit suite: every .mlir, .test and .onnxtxt file under test/ but for the folders that other runners own.
#
# Tools are those of the build directory; FileCheck, not and split-file are LLVM's. Substitutions besides the tools'
# names: %python (with onnx and numpy), %digits (examples/digits), %src (the checkout), %e2e (test/e2e).
# Features: x86_64, sanitize, onnx (the Python package is there), cuda (a device is there).

import os
import platform
import subprocess
import sys

import lit.formats
import lit.llvm
from lit.llvm.subst import ToolSubst

config.llvm_tools_dir = getattr(config, "llvm_tools_dir", "") or "/usr/lib/llvm-22/bin"
lit.llvm.initialize(lit_config, config)
llvm_config = lit.llvm.llvm_config

config.name = "flame"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".mlir", ".test", ".onnxtxt", ".c"]
config.excludes = ["e2e", "unit", "fuzz", "python", "consumer", "Inputs", "CMakeLists.txt", "lit.cfg.py"]
config.test_source_root = os.path.join(config.flame_source_root, "test")
config.test_exec_root = os.path.join(config.flame_binary_root, "test")

# lit runs in the environment of tools/setup.sh, so its own interpreter has numpy and onnx.
python = sys.executable
config.substitutions += [
    ("%python", python),
    ("%digits", os.path.join(config.flame_source_root, "examples/digits")),
    ("%e2e", os.path.join(config.test_source_root, "e2e")),
    ("%src", config.flame_source_root),
]

tools = ["flame-opt", "flamec", "flame-run", "flame-lsp-server"]
llvm_config.add_tool_substitutions(
    [ToolSubst(tool, unresolved="ignore") for tool in tools], [config.flame_tools_dir]
)
llvm_config.add_tool_substitutions(
    [ToolSubst(tool, unresolved="fatal") for tool in ("FileCheck", "not", "split-file", "count")],
    [config.llvm_tools_dir],
)
llvm_config.with_environment("PATH", config.flame_tools_dir, append_path=True)
llvm_config.with_environment("NO_COLOR", "1")
llvm_config.with_environment("PYTHONPATH", os.path.join(config.test_source_root, "e2e"))
for name in ("HOME", "XDG_CACHE_HOME", "ASAN_OPTIONS", "UBSAN_OPTIONS"):
    if name in os.environ:
        config.environment[name] = os.environ[name]

config.available_features.add(platform.machine())
if config.flame_sanitize:
    config.available_features.add("sanitize")
if subprocess.run([python, "-c", "import onnx, numpy"], capture_output=True).returncode == 0:
    config.available_features.add("onnx")
if os.path.exists("/dev/nvidiactl"):
    config.available_features.add("cuda")
