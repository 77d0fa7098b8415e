"""The C interface of libflame_diffusion (flame_diffusion.h) in Python, as far as the tests need it."""

from __future__ import annotations

import ctypes
import pathlib
from ctypes import POINTER, byref, c_char_p, c_float, c_int, c_int32, c_size_t, c_uint8, c_uint64, c_void_p

import ml_dtypes
import numpy as np

TYPES = {"f32": (1, np.float32), "f16": (10, np.float16), "f64": (11, np.float64), "bf16": (16, ml_dtypes.bfloat16)}
CPU, CUDA = 0, 1
INVALID_ARGUMENT, UNSUPPORTED, IO, BAD_DATA = 1, 3, 7, 8


class FlameError(RuntimeError):
    def __init__(self, message, code):
        super().__init__(message)
        self.code = code


class Text(ctypes.Structure):
    _fields_ = [("keyword", c_char_p), ("value", c_char_p)]


class Library:
    def __init__(self, path: pathlib.Path):
        self.c = ctypes.CDLL(str(path))
        self.c.flame_status_message.restype = c_char_p
        self.c.flame_status_message.argtypes = [c_void_p]
        self.c.flame_status_free.argtypes = [c_void_p]
        self.c.flame_status_code.argtypes = [c_void_p]
        self.c.flame_tokenizer_max_length.restype = c_size_t
        self.c.flame_tokenizer_max_length.argtypes = [c_void_p]
        self.c.flame_scheduler_initial_scale.restype = c_float
        self.c.flame_scheduler_initial_scale.argtypes = [c_void_p]
        for name in ("timesteps", "sigmas"):
            function = getattr(self.c, f"flame_scheduler_{name}")
            function.restype, function.argtypes = c_size_t, [c_void_p, POINTER(c_float), c_size_t]
        self.c.flame_image_pixels.restype = POINTER(c_uint8)
        for name in ("width", "height"):
            getattr(self.c, f"flame_image_{name}").restype = c_size_t

    def call(self, name, *arguments):
        function = getattr(self.c, name)
        function.restype = c_void_p
        status = function(*arguments)
        if status:
            error = FlameError(self.c.flame_status_message(status).decode(), self.c.flame_status_code(status))
            self.c.flame_status_free(status)
            raise error

    def tokenizer(self, folder):
        return Tokenizer(self, folder)

    def scheduler(self, path):
        return Scheduler(self, path)

    def generator(self, kind, seed):
        return Generator(self, kind, seed)

    def image(self, pixels):
        return Image(self, pixels)


class Object:
    kind = ""

    def __init__(self, library, *arguments, function="load"):
        self.library, self.handle = library, c_void_p()
        library.call(f"flame_{self.kind}_{function}", *arguments, byref(self.handle))

    def __del__(self):
        if self.handle:
            getattr(self.library.c, f"flame_{self.kind}_release")(self.handle)


class Tokenizer(Object):
    kind = "tokenizer"

    def __init__(self, library, folder):
        super().__init__(library, str(folder).encode())

    @property
    def max_length(self):
        return self.library.c.flame_tokenizer_max_length(self.handle)

    def tokens(self, text):
        data = text if isinstance(text, bytes) else text.encode()
        ids = (c_int32 * max(len(data) * 4, 16))()
        count = c_size_t()
        self.library.call("flame_tokenizer_tokens", self.handle, data, c_size_t(len(data)), ids, c_size_t(len(ids)),
                          byref(count))  # fmt: skip
        assert count.value <= len(ids)
        return ids[: count.value]

    def encode(self, text, length=0):
        """(ids, how many are no padding, how many tokens were cut off)"""
        data = text.encode()
        ids = (c_int32 * (length or self.max_length))()
        used, dropped = c_size_t(), c_size_t()
        self.library.call("flame_tokenizer_encode", self.handle, data, c_size_t(len(data)), c_size_t(length), ids,
                          byref(used), byref(dropped))  # fmt: skip
        return list(ids), used.value, dropped.value


class Generator(Object):
    kind = "generator"

    def __init__(self, library, kind, seed):
        super().__init__(library, c_int(kind), c_uint64(seed), function="create")

    def normal(self, dtype, count):
        number, numpy = TYPES[dtype]
        out = np.empty(count, numpy)
        self.library.call("flame_generator_normal", self.handle, c_int(number), c_void_p(out.ctypes.data), c_size_t(count))
        return out


class Scheduler(Object):
    kind = "scheduler"

    def __init__(self, library, path):
        super().__init__(library, str(path).encode())

    def numbers(self, name):
        function = getattr(self.library.c, f"flame_scheduler_{name}")
        out = (c_float * function(self.handle, None, 0))()
        function(self.handle, out, len(out))
        return np.array(out, np.float32)

    def prepare(self, steps, image_tokens=0):
        self.library.call("flame_scheduler_prepare", self.handle, c_size_t(steps), c_size_t(image_tokens))
        return self.numbers("timesteps"), self.numbers("sigmas")

    @property
    def initial_scale(self):
        return self.library.c.flame_scheduler_initial_scale(self.handle)

    def scale_input(self, index, dtype, sample):
        out = np.array(sample, TYPES[dtype][1])
        self.library.call("flame_scheduler_scale_input", self.handle, c_size_t(index), c_int(TYPES[dtype][0]),
                          c_void_p(out.ctypes.data), c_size_t(out.size))  # fmt: skip
        return out

    def step(self, index, dtype, prediction, sample):
        number, numpy = TYPES[dtype]
        prediction, out = np.array(prediction, numpy), np.array(sample, numpy)
        self.library.call("flame_scheduler_step", self.handle, c_size_t(index), c_int(number),
                          c_void_p(prediction.ctypes.data), c_void_p(out.ctypes.data), c_size_t(out.size))  # fmt: skip
        return out


class Image(Object):
    kind = "image"

    def __init__(self, library, pixels):
        """[height, width, 3] bytes, or [3, height, width] floats in [-1, 1]."""
        if pixels.dtype == np.uint8:
            height, width, _ = pixels.shape
            super().__init__(library, c_size_t(width), c_size_t(height), c_void_p(pixels.ctypes.data), function="create")
            return
        number = next(n for n, t in TYPES.values() if pixels.dtype == t)
        _, height, width = pixels.shape
        self.library, self.handle, bad = library, c_void_p(), c_size_t()
        library.call("flame_image_from_tensor", c_int(number), c_void_p(pixels.ctypes.data), c_size_t(width),
                     c_size_t(height), byref(self.handle), byref(bad))  # fmt: skip
        self.bad, self.shape = bad.value, (height, width, 3)

    @classmethod
    def adopt(cls, library, handle):
        """Takes over a picture that the library made."""
        image = cls.__new__(cls)
        image.library, image.handle = library, handle
        image.shape = (library.c.flame_image_height(handle), library.c.flame_image_width(handle), 3)
        return image

    def pixels(self):
        return np.ctypeslib.as_array(self.library.c.flame_image_pixels(self.handle), self.shape).copy()

    def png(self, texts=()):
        array = (Text * len(texts))(*[Text(k.encode(), v.encode()) for k, v in texts])
        data, size = POINTER(c_uint8)(), c_size_t()
        self.library.call("flame_image_png", self.handle, array, c_size_t(len(texts)), byref(data), byref(size))
        return ctypes.string_at(data, size.value)

    def save(self, path, texts=()):
        array = (Text * len(texts))(*[Text(k.encode(), v.encode()) for k, v in texts])
        self.library.call("flame_image_save", self.handle, array, c_size_t(len(texts)), str(path).encode())
