"""The runtime's C interface (flame_rt.h) in Python, as far as the GPU tests and benchmarks need it: ctypes alone.

    module = Module("libflame_rt.so", "model.flame")
    session = module.session()
    outputs = session.run([numpy array or torch CUDA tensor, …])   # numpy arrays
    session.run(torch_inputs, into=torch_outputs)                   # on torch's current stream, nothing waits

Errors are FlameError with the runtime's message.
"""

from __future__ import annotations

import ctypes
from ctypes import POINTER, byref, c_char_p, c_int, c_int32, c_int64, c_size_t, c_uint32, c_uint64, c_void_p

import numpy as np

# flame_dtype by NumPy's name; types that NumPy lacks travel as their bits.
DTYPES = {
    "float32": 1, "uint8": 2, "int8": 3, "uint16": 4, "int16": 5, "int32": 6, "int64": 7, "bool": 9, "float16": 10,
    "float64": 11, "uint32": 12, "uint64": 13, "complex64": 14, "complex128": 15,
}  # fmt: skip
TORCH_DTYPES = {"bfloat16": 16, "float8_e4m3fn": 17, "float8_e5m2": 19}
BITS = {16: np.uint16, 17: np.uint8, 18: np.uint8, 19: np.uint8, 20: np.uint8, 24: np.uint8}


class FlameError(RuntimeError):
    pass


class Options(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("weights_directory", c_char_p),
        ("memory_limit", c_uint64),
        ("allocator", c_void_p * 3),
        ("log", c_void_p),
        ("log_user", c_void_p),
        ("threads", c_int32),
        ("flags", c_uint32),
        ("fail_allocation", c_uint64),
        ("device", c_int32),
    ]


_libraries = {}


def library(path):
    path = str(path)
    if path not in _libraries:
        lib = ctypes.CDLL(path)
        lib.flame_status_message.restype = c_char_p
        for name in ("flame_tensor_data", "flame_tensor_dims"):
            getattr(lib, name).restype = c_void_p
        for name in ("flame_tensor_bytes", "flame_module_input_count", "flame_module_output_count"):
            getattr(lib, name).restype = c_size_t
        for name in ("flame_module_load", "flame_session_create", "flame_session_run", "flame_session_set_stream",
                     "flame_tensor_wrap", "flame_tensor_wrap_device"):  # fmt: skip
            getattr(lib, name).restype = c_void_p
        _libraries[path] = lib
    return _libraries[path]


def check(lib, status):
    if status:
        message = lib.flame_status_message(c_void_p(status)).decode()
        lib.flame_status_free(c_void_p(status))
        raise FlameError(message)


class Module:
    def __init__(self, lib_path, path, flags=0):
        self.lib, self.handle = library(lib_path), c_void_p()
        options = Options(struct_size=ctypes.sizeof(Options), flags=flags)
        check(self.lib, self.lib.flame_module_load(str(path).encode(), byref(options), byref(self.handle)))
        self.outputs = self.lib.flame_module_output_count(self.handle)

    def __del__(self):
        if self.handle:
            self.lib.flame_module_release(self.handle)

    def session(self):
        return Session(self)


class Session:
    def __init__(self, module):
        self.module, self.lib, self.handle = module, module.lib, c_void_p()
        check(self.lib, self.lib.flame_session_create(module.handle, byref(self.handle)))

    def __del__(self):
        if self.handle:
            self.lib.flame_session_release(self.handle)

    def on_stream(self, stream):
        """Orders runs with a CUDA stream, given as the number that torch calls cuda_stream."""
        check(self.lib, self.lib.flame_session_set_stream(self.handle, c_void_p(stream), 1))

    def wrap(self, tensor):
        value = c_void_p()
        dims = (c_int64 * max(1, len(tensor.shape)))(*tensor.shape)
        if isinstance(tensor, np.ndarray):
            check(self.lib, self.lib.flame_tensor_wrap(
                c_int(DTYPES[tensor.dtype.name]), dims, c_int32(tensor.ndim), c_void_p(tensor.ctypes.data),
                c_size_t(tensor.nbytes), None, None, byref(value)))  # fmt: skip
        else:
            name = str(tensor.dtype).removeprefix("torch.")
            check(self.lib, self.lib.flame_tensor_wrap_device(
                c_int(DTYPES.get(name) or TORCH_DTYPES[name]), dims, c_int32(tensor.dim()), c_int32(tensor.device.index or 0),
                c_void_p(tensor.data_ptr()), c_size_t(tensor.numel() * tensor.element_size()), None, None, byref(value)))  # fmt: skip
        return value

    def bind(self, inputs, outputs):
        """A function that runs with these tensors, again and again; they must stay alive."""
        ins, outs = [self.wrap(t) for t in inputs], [self.wrap(t) for t in outputs]
        in_array, out_array = (c_void_p * len(ins))(*ins), (c_void_p * len(outs))(*outs)
        run, handle, lib = self.lib.flame_session_run, self.handle, self.lib

        def call():
            check(lib, run(handle, in_array, c_size_t(len(ins)), out_array, c_size_t(len(outs))))

        return call
