"""The runtime's C interface (flame_rt.h) in Python, as far as the GPU tests and benchmarks need it: ctypes alone.

    module = Module("libflame_rt.so", "model.flame")
    session = module.session()
    outputs = session.run([numpy array or torch CUDA tensor, …])   # Value; .numpy(), .torch()
    session.on_stream(torch.cuda.current_stream().cuda_stream)      # nothing waits from now on
    call = session.bind(torch_inputs, torch_outputs)                # call() runs with them

Errors are FlameError with the runtime's message and its code.
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


INVALID_ARGUMENT, BAD_ARTIFACT, UNSUPPORTED, OUT_OF_MEMORY, INTERNAL, CANCELLED, IO, BAD_DATA, DEVICE = range(1, 10)
POISON, BORROW, SYNC, RED_ZONES, NO_GRAPHS = 1, 2, 4, 8, 16


class FlameError(RuntimeError):
    def __init__(self, message, code):
        super().__init__(message)
        self.code = code


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


class Shape(ctypes.Structure):
    _fields_ = [("rank", c_int32), ("dims", POINTER(c_int64))]


class GpuMemory(ctypes.Structure):
    _fields_ = [("used", c_uint64), ("peak", c_uint64), ("reserved", c_uint64)]


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
        for name in ("flame_module_load", "flame_module_planned_bytes", "flame_session_create", "flame_session_run",
                     "flame_session_wait", "flame_session_set_stream", "flame_session_device_outputs", "flame_tensor_wrap",
                     "flame_tensor_wrap_device", "flame_tensor_copy", "flame_tensor_from_dlpack_versioned",
                     "flame_tensor_to_dlpack_versioned", "flame_device_memory", "flame_device_trim"):  # fmt: skip
            if hasattr(lib, name):  # a benchmark may look at an older library
                getattr(lib, name).restype = c_void_p
        _libraries[path] = lib
    return _libraries[path]


def check(lib, status):
    if status:
        message = lib.flame_status_message(c_void_p(status)).decode()
        code = lib.flame_status_code(c_void_p(status))
        lib.flame_status_free(c_void_p(status))
        raise FlameError(message, code)


def device_memory(lib_path, device=0):
    """GpuMemory: bytes that the runtime takes on the device."""
    lib, memory = library(lib_path), GpuMemory()
    check(lib, lib.flame_device_memory(c_int32(device), byref(memory)))
    return memory


def trim(lib_path, device=0):
    lib = library(lib_path)
    check(lib, lib.flame_device_trim(c_int32(device)))


class Module:
    def __init__(self, lib_path, path, flags=0, memory_limit=0, device=0, weights=None):
        """`weights`: the folder of the weight files, where that isn't the artifact's."""
        self.lib, self.handle = library(lib_path), c_void_p()
        options = Options(struct_size=ctypes.sizeof(Options), flags=flags, memory_limit=memory_limit, device=device)
        if weights:
            options.weights_directory = str(weights).encode()
        check(self.lib, self.lib.flame_module_load(str(path).encode(), byref(options), byref(self.handle)))
        self.outputs = self.lib.flame_module_output_count(self.handle)

    def __del__(self):
        if self.handle:
            self.lib.flame_module_release(self.handle)

    def close(self):
        """Gives up this reference now; sessions keep theirs."""
        self.lib.flame_module_release(self.handle)
        self.handle = c_void_p()

    def session(self):
        return Session(self)

    def planned_bytes(self, shapes):
        """(bytes, exact) of a run with inputs of these shapes, beside weights and inputs."""
        arrays = [(c_int64 * max(1, len(s)))(*s) for s in shapes]
        raw = (Shape * max(1, len(shapes)))(*(Shape(len(s), a) for s, a in zip(shapes, arrays)))
        count, exact = c_uint64(), c_int()
        check(self.lib, self.lib.flame_module_planned_bytes(self.handle, raw, c_size_t(len(shapes)), byref(count), byref(exact)))
        return count.value, bool(exact.value)


class Session:
    def __init__(self, module):
        self.module, self.lib, self.handle = module, module.lib, c_void_p()
        check(self.lib, self.lib.flame_session_create(module.handle, byref(self.handle)))

    def __del__(self):
        if self.handle:
            self.lib.flame_session_release(self.handle)

    def close(self):
        self.lib.flame_session_release(self.handle)
        self.handle, self.module = c_void_p(), None

    def on_stream(self, stream):
        """Runs go into a CUDA stream, given as the number that torch calls cuda_stream; None: into the session's own."""
        check(self.lib, self.lib.flame_session_set_stream(self.handle, c_void_p(stream), c_int(stream is not None)))

    def device_outputs(self, enable=True):
        check(self.lib, self.lib.flame_session_device_outputs(self.handle, c_int(enable)))

    def wait(self):
        check(self.lib, self.lib.flame_session_wait(self.handle))

    def run(self, inputs):
        """Outputs as Values; the inputs are NumPy arrays, torch CUDA tensors or Values."""
        ins = [self.wrap(t) for t in inputs]
        count = self.module.outputs
        in_array, out_array = (c_void_p * max(1, len(ins)))(*ins), (c_void_p * max(1, count))()
        try:
            check(self.lib, self.lib.flame_session_run(
                self.handle, in_array, c_size_t(len(ins)), out_array, c_size_t(count)))  # fmt: skip
        finally:
            for value, tensor in zip(ins, inputs):
                if not isinstance(tensor, Value):
                    self.lib.flame_value_release(value)
        return [Value(self.lib, v) for v in out_array[:count]]

    def wrap(self, tensor):
        if isinstance(tensor, Value):
            return tensor.handle
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
        """A function that runs with these tensors, again and again."""
        ins, outs = [self.wrap(t) for t in inputs], [self.wrap(t) for t in outputs]
        in_array, out_array = (c_void_p * len(ins))(*ins), (c_void_p * len(outs))(*outs)
        run, handle, lib = self.lib.flame_session_run, self.handle, self.lib

        def call():
            check(lib, run(handle, in_array, c_size_t(len(ins)), out_array, c_size_t(len(outs))))

        call.keeps = self, inputs, outputs  # alive
        return call


class Value:
    """A tensor of the runtime's."""

    NAMES = {code: name for name, code in DTYPES.items()}

    def __init__(self, lib, handle):
        self.lib, self.handle = lib, c_void_p(handle)

    def __del__(self):
        if self.handle:
            self.lib.flame_value_release(self.handle)

    @classmethod
    def from_torch(cls, lib, tensor):
        """Shares the tensor's memory, by DLPack."""
        capsule = tensor.__dlpack__(max_version=(1, 1), **({"stream": -1} if tensor.is_cuda else {}))
        pointer = ctypes.pythonapi.PyCapsule_GetPointer
        pointer.restype, pointer.argtypes = c_void_p, [ctypes.py_object, c_char_p]
        value = c_void_p()
        managed = c_void_p(pointer(capsule, b"dltensor_versioned"))
        check(lib, lib.flame_tensor_from_dlpack_versioned(managed, byref(value)))
        rename = ctypes.pythonapi.PyCapsule_SetName
        rename.restype, rename.argtypes = c_int, [ctypes.py_object, c_char_p]
        rename(capsule, b"used_dltensor_versioned")
        return cls(lib, value.value)

    def torch(self):
        """A torch tensor that shares the memory, by DLPack."""
        import torch

        managed = c_void_p()
        check(self.lib, self.lib.flame_tensor_to_dlpack_versioned(self.handle, byref(managed)))
        capsule = ctypes.pythonapi.PyCapsule_New
        capsule.restype, capsule.argtypes = ctypes.py_object, [c_void_p, c_char_p, c_void_p]
        return torch.utils.dlpack.from_dlpack(capsule(managed, b"dltensor_versioned", None))

    @property
    def data(self):
        return self.lib.flame_tensor_data(self.handle)

    @property
    def device(self):
        return self.lib.flame_tensor_device(self.handle)

    def numpy(self):
        """A copy in CPU memory."""
        handle = c_void_p()
        check(self.lib, self.lib.flame_tensor_copy(self.handle, byref(handle)))
        copy = Value(self.lib, handle.value)
        rank = self.lib.flame_tensor_rank(handle)
        dims = ctypes.cast(c_void_p(self.lib.flame_tensor_dims(handle)), POINTER(c_int64))
        dtype = self.lib.flame_value_dtype(handle)
        kind = np.dtype(self.NAMES[dtype]) if dtype in self.NAMES else np.dtype(BITS[dtype])
        data = ctypes.string_at(copy.data, self.lib.flame_tensor_bytes(handle))
        return np.frombuffer(data, kind).reshape([dims[i] for i in range(rank)])
