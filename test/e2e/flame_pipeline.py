"""The pipelines of libflame_diffusion (flame_diffusion.h) in Python, for tests and benchmarks."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, byref, c_char_p, c_double, c_int, c_int32, c_size_t, c_uint64, c_void_p, sizeof

from flame_diffusion import Image, Object


class GenerateOptions(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_size_t), ("prompts", POINTER(c_char_p)), ("prompt_count", c_size_t), ("images", c_size_t),
        ("seeds", POINTER(c_uint64)), ("seed", c_uint64), ("steps", c_size_t), ("width", c_size_t), ("height", c_size_t),
        ("guidance", c_double), ("text_tokens", c_size_t), ("batch", c_size_t), ("generator", c_int), ("progress", c_void_p),
        ("progress_user", c_void_p), ("vae_tiling", c_int), ("tile_sample_min_size", c_size_t), ("tile_overlap_factor", c_double),
    ]  # fmt: skip


class PipelineOptions(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_size_t), ("artifacts", c_char_p), ("memory_limit", c_uint64), ("threads", c_int32),
        ("device", c_int32), ("log", c_void_p), ("log_user", c_void_p),
    ]  # fmt: skip


class Statistics(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_size_t), ("seconds", c_double * 3), ("loading_seconds", c_double), ("peak_bytes", c_uint64),
        ("texts_encoded", c_uint64), ("parts_loaded", c_uint64),
    ]  # fmt: skip


class MemoryPlan(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_size_t), ("peak_bytes", c_uint64), ("weight_bytes", c_uint64 * 4), ("run_bytes", c_uint64 * 4),
        ("tile_sample_size", c_size_t),
    ]  # fmt: skip


class Progress(ctypes.Structure):
    _fields_ = [("stage", c_int), ("step", c_size_t), ("steps", c_size_t), ("seconds", c_double)]


ProgressFunction = ctypes.CFUNCTYPE(c_int, POINTER(Progress), c_void_p)


class Pipeline(Object):
    kind = "pipeline"

    def __init__(self, library, folder, artifacts, memory_limit=0, threads=0):
        options = PipelineOptions(sizeof(PipelineOptions), str(artifacts).encode(), memory_limit, threads)
        super().__init__(library, str(folder).encode(), byref(options))

    def options(self, prompts, progress=None, **values):
        texts = (c_char_p * max(1, len(prompts)))(*[p.encode() if isinstance(p, str) else p for p in prompts])
        options = GenerateOptions(sizeof(GenerateOptions), texts, len(prompts), **values)
        options.progress = ctypes.cast(progress, c_void_p) if progress else None
        return options

    def generate(self, prompts, progress=None, **values):
        """An Image for each prompt; `progress`, a ProgressFunction; values of GenerateOptions by name."""
        options = self.options(prompts, progress, **values)
        raw = (c_void_p * max(1, len(prompts) * min(values.get("images", 1), 100)))()
        self.library.call("flame_pipeline_generate", self.handle, byref(options), raw)
        return [Image.adopt(self.library, c_void_p(handle)) for handle in raw]

    def plan(self, prompts, **values):
        out = MemoryPlan(sizeof(MemoryPlan))
        self.library.call("flame_pipeline_plan", self.handle, byref(self.options(prompts, **values)), byref(out))
        return out

    def statistics(self):
        out = Statistics(sizeof(Statistics))
        self.library.call("flame_pipeline_statistics", self.handle, byref(out))
        return out

    def cancel(self):
        self.library.c.flame_pipeline_cancel(self.handle)
