"""Runs libFuzzer targets on their corpora for a fixed time each and ends with `N passed, N failed, N skipped`.

The seeds of target fuzz_NAME are the files of CORPUS/NAME/ (made by the build), for onnx the small models of the onnx
wheel's backend suite, for safetensors and config those of the tests' pipeline; new inputs stay in a scratch folder. A crash, a leak, a time-out or an input that needs more than 2 GiB fails the target; the input is kept under
ARTIFACTS with the command that reruns it.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile


def onnx_seeds(folder, largest=3000):
    """Copies the small models of the backend suite into `folder`, one a distinct content."""
    import onnx

    data = pathlib.Path(onnx.__file__).parent / "backend/test/data"
    for model in sorted(data.glob("*/*/model.onnx")):
        if model.stat().st_size <= largest:
            shutil.copyfile(model, folder / f"{model.parent.name}.onnx")


def folder_seeds(name, folder):
    """A small safetensors file, or the configurations of the tests' pipeline behind their classes."""
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "test/e2e"))
    from pipelines import make_pipeline, safetensors

    if name == "safetensors":
        safetensors.write(folder / "seed", {"x": [[1.0, 2.0], [3.0, 4.0]], "y": [], "z": 5.0})
        return
    for part, config in make_pipeline.configurations("tiny").items():
        model = config.get("_class_name") or config["architectures"][0]
        (folder / part).write_text(f"{model}\n{json.dumps(config)}")


def diffusion_seeds(name, folder):
    """Schedules, or the files of small tokenizers, each behind the byte by which the harness knows it."""
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "test/e2e"))
    if name == "scheduler":
        from pipelines import make_pipeline

        for dynamic in (False, True):
            (folder / f"flow-{dynamic}").write_text(json.dumps(make_pipeline.scheduler(dynamic)))
        for kind in ("EulerDiscreteScheduler", "DDIMScheduler"):
            config = {"_class_name": kind, "beta_schedule": "scaled_linear", "timestep_spacing": "leading", "steps_offset": 1}
            (folder / kind).write_text(json.dumps(config | {"num_train_timesteps": 100, "prediction_type": "epsilon"}))
        return
    import tokenizer_folders

    scratch = folder.parent / "tokenizers"
    tokenizer_folders.clip(scratch / "clip", 300)
    tokenizer_folders.t5(scratch / "t5", 260, sentinels=3)
    names = ["clip/vocab.json", "clip/merges.txt", "clip/tokenizer_config.json", "clip/special_tokens_map.json",
             "t5/tokenizer.json", "t5/spiece.model"]  # fmt: skip
    for i, file in enumerate(names):
        data = (scratch / file).read_bytes()
        if file == "t5/tokenizer.json":  # its character map would be larger than any input
            data = json.dumps(json.loads(data) | {"normalizer": None}).encode()
        (folder / f"file-{i}").write_bytes(bytes([i]) + data[:60000] + b"\n----\nA red fox")
    (folder / "text").write_bytes(b"\x06a \xe2\x96\x81a <pad>\xcc\x81")


def fuzz(target, args):
    name = target.name.removeprefix("fuzz_")
    artifacts = args.artifacts / name
    artifacts.mkdir(parents=True, exist_ok=True)
    seeds = args.corpus / name
    with tempfile.TemporaryDirectory() as scratch:
        new = pathlib.Path(scratch) / "new"
        new.mkdir()
        folders = [str(seeds)] if seeds.is_dir() else []
        if name in ("onnx", "safetensors", "config"):
            models = pathlib.Path(scratch) / "models"
            models.mkdir()
            onnx_seeds(models) if name == "onnx" else folder_seeds(name, models)
            folders.append(str(models))
        if name in ("tokenizer", "scheduler"):
            files = pathlib.Path(scratch) / "files"
            files.mkdir()
            diffusion_seeds(name, files)
            folders.append(str(files))
        command = [str(target), str(new), *folders]
        command += [f"-max_total_time={args.seconds}", "-timeout=10", "-rss_limit_mb=2048", "-print_final_stats=1"]
        command += ["-max_len=65536", f"-artifact_prefix={artifacts}/"]
        env = {
            **os.environ,
            "ASAN_OPTIONS": "detect_leaks=1:allocator_may_return_null=1",
            "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
        }
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                timeout=args.seconds + 120, env=env,
            )  # fmt: skip
            status, output = done.returncode, done.stdout.decode(errors="replace")
        except subprocess.TimeoutExpired as error:
            status, output = -1, (error.stdout or b"").decode(errors="replace") + "\nthe fuzzer did not stop in time"
    (artifacts / "log.txt").write_text(output)
    runs = next((line.split()[-1] for line in output.splitlines() if "number_of_executed_units" in line), "?")
    return status, runs, output, artifacts


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="*", type=pathlib.Path)
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--corpus", type=pathlib.Path, required=True)
    parser.add_argument("--artifacts", type=pathlib.Path, required=True)
    args = parser.parse_args()

    failed = 0
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        for target, result in zip(args.targets, pool.map(lambda t: fuzz(t, args), args.targets)):
            status, runs, output, artifacts = result
            print(f"{'ok  ' if status == 0 else 'FAIL'} {target.name}: {runs} runs in {args.seconds} s", flush=True)
            if status != 0:
                failed += 1
                print("\n".join(output.splitlines()[-40:]))
                for crash in sorted(artifacts.glob("*-*")):
                    print(f"  rerun: {target} {crash}")
    if not args.targets:
        print("error: the build made no fuzz_* targets")
        failed = 1
    print(f"{len(args.targets) - failed if args.targets else 0} passed, {failed} failed, 0 skipped", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
