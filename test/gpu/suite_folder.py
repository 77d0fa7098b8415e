"""Where a program that makes cases for the GPU puts them: a folder, or an archive of one for another machine."""

from __future__ import annotations

import contextlib
import json
import pathlib
import shutil
import tarfile
import tempfile


@contextlib.contextmanager
def suite_folder(target):
    """A new folder to fill; at the end it is `target`, or in that archive if the name ends in .tar.gz."""
    if target.name.endswith(".tar.gz"):
        with tempfile.TemporaryDirectory() as scratch:
            folder = pathlib.Path(scratch) / "suite"
            folder.mkdir()
            yield folder
            with tarfile.open(target, "w:gz", compresslevel=6) as archive:
                archive.add(folder, "suite")
    else:
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        yield target


def finish(entries, folder):
    """Writes the table of contents, which run_suite.py reads. An entry has "name" and, if it couldn't be made, "error"."""
    (folder / "tests.json").write_text(json.dumps(entries, indent=1))


def report(entries, target):
    """Says what was made; the exit status."""
    failed = [e for e in entries if "error" in e]
    for entry in failed:
        print(f"not compiled: {entry['name']}: {entry['error'].splitlines()[-1]}")
    size = f", {target.stat().st_size / 1e6:.1f} MB" if target.is_file() else ""
    print(f"{len(entries) - len(failed)} of {len(entries)} packed{size}")
    return 1 if failed else 0


@contextlib.contextmanager
def opened(pack, name, scratch):
    """The folder of suite `name` of a pack, unpacked under `scratch` if it is an archive; None if it is missing."""
    archive = pack / f"{name}.tar.gz"
    if archive.exists():
        with tarfile.open(archive) as tar:
            tar.extractall(scratch / name)
        yield next((scratch / name).rglob("tests.json")).parent
        shutil.rmtree(scratch / name)
    else:
        yield pack / "suites" / name if (pack / "suites" / name / "tests.json").exists() else None
