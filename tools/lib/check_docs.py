"""Checks of documentation and sources; ends with `N passed, N failed, N skipped`.

- Every command in a ```console block of README.md and docs/ runs: lines that start with `$ `, in order, in a scratch
  folder per page that has the checkout's examples/ and tools/ and flamec on the path. Lines below a command are what it
  must print (stdout and stderr); `…` stands for anything. A command that would install, build or run all tests
  (`bash tools/…`) is checked for its script and options instead.
- Relative links lead to files. Generated pages are up to date.
- No source file is over 1,000 lines; runtime/ includes nothing of LLVM or MLIR; shell scripts parse.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
SOURCES = {".cpp", ".h", ".c", ".td", ".py", ".sh", ".cmake", ".fbs", ".proto", ".mlir", ".inc"}
LONGEST = 1000


class Checks:
    def __init__(self):
        self.passed = self.failed = 0

    def check(self, name, problem):
        """Counts one check; `problem` is None or says what is wrong."""
        if problem:
            self.failed += 1
            print(f"FAIL {name}: {problem}", flush=True)
        else:
            self.passed += 1


def tracked():
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    return [pathlib.Path(line) for line in listed.stdout.splitlines() if (ROOT / line).is_file()]


def console_blocks(text):
    """[(line number, command, expected output)] of all ```console blocks."""
    found, inside = [], False
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("```"):
            inside = line.strip() == "```console"
        elif inside and line.startswith("$ "):
            found.append([number, line[2:], []])
        elif inside and found and found[-1][1].endswith("\\"):
            found[-1][1] = found[-1][1][:-1] + line.strip()
        elif inside and found:
            found[-1][2].append(line)
    return [(number, command, "\n".join(lines).strip()) for number, command, lines in found]


def pattern(expected):
    return re.compile(".*".join(re.escape(part) for part in expected.split("…")), re.DOTALL)


def script_problem(command):
    """A `bash tools/NAME.sh ARGUMENTS` line: the script is there and its help knows the words."""
    words = command.split()
    script = ROOT / words[1]
    if not script.exists():
        return f"{words[1]} does not exist"
    head = script.read_text().split("\n\n", 1)[0] + script.read_text().split("\n\n", 2)[1]
    for word in words[2:]:
        if not re.search(rf"(?<![\w-]){re.escape(word.split('=')[0])}(?![\w-])", head):
            return f"{words[1]} does not document '{word}'"
    return None


def run_page(page, bin_folder, checks):
    with tempfile.TemporaryDirectory(prefix="flame-docs-") as scratch:
        for name in ("examples", "tools"):
            os.symlink(ROOT / name, os.path.join(scratch, name))
        env = {
            **os.environ,
            "PATH": f"{bin_folder}:{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}",
            "NO_COLOR": "1",
        }
        for number, command, expected in console_blocks((ROOT / page).read_text()):
            name = f"{page}:{number}: {command}"
            if command.startswith("bash tools/"):
                checks.check(name, script_problem(command))
                continue
            try:
                done = subprocess.run(
                    ["bash", "-c", command], cwd=scratch, env=env, stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300,
                )  # fmt: skip
            except subprocess.TimeoutExpired:
                checks.check(name, "no result after 300 s")
                continue
            output = done.stdout.decode(errors="replace")
            problem = None
            if done.returncode != 0:
                problem = f"status {done.returncode}\n{output[-2000:]}"
            elif expected and not pattern(expected).search(output):
                problem = f"printed\n{output[-2000:]}\nwhere the page says\n{expected}"
            checks.check(name, problem)


def check_links(page, checks):
    text = re.sub(r"```.*?```", "", (ROOT / page).read_text(), flags=re.DOTALL)
    for target in re.findall(r"\[[^\]]*\]\(([^)#\s]+)[^)]*\)", text):
        if "://" not in target and not target.startswith("mailto:"):
            exists = (ROOT / page).parent.joinpath(target).exists()
            checks.check(f"{page}: link {target}", None if exists else "there is no such file")


def check_sources(files, checks):
    long = [f"{f} ({n})" for f in files if f.suffix in SOURCES and (n := count_lines(ROOT / f)) > LONGEST]
    checks.check(f"no file over {LONGEST} lines", ", ".join(long) or None)
    include = re.compile(r'#\s*include\s*[<"](mlir|llvm|llvm-c|mlir-c|flame)/')
    bad = []
    for f in files:
        if f.parts[0] == "runtime" and f.suffix in {".cpp", ".h", ".c"} and include.search((ROOT / f).read_text()):
            bad.append(str(f))
    checks.check("runtime/ includes nothing of the compiler", ", ".join(bad) or None)
    for f in files:
        if f.suffix == ".sh" or str(f) == ".ci/run":
            parsed = subprocess.run(["bash", "-n", str(ROOT / f)], capture_output=True, text=True)
            checks.check(f"{f} parses", parsed.stderr.strip() or None)


def count_lines(path):
    with open(path, "rb") as file:
        return sum(1 for _ in file)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", type=pathlib.Path, required=True, help="folder of flamec")
    args = parser.parse_args()
    checks = Checks()
    files = tracked()
    pages = [f for f in files if f.suffix == ".md" and (len(f.parts) == 1 or f.parts[0] == "docs")]
    check_sources(files, checks)
    for page in pages:
        check_links(page, checks)
        run_page(page, args.bin.resolve(), checks)
    llvm = pathlib.Path(os.environ.get("FLAME_LLVM", "/usr/lib/llvm-22"))
    reference = [
        sys.executable,
        str(ROOT / "tools/lib/reference.py"),
        "--tblgen",
        str(llvm / "bin/llvm-tblgen"),
        "--check",
    ]
    done = subprocess.run(reference, capture_output=True, text=True)
    checks.check("docs/reference is up to date", done.stderr.strip() if done.returncode else None)
    coverage = [sys.executable, str(ROOT / "tools/lib/coverage.py"), "--flamec", str(args.bin / "flamec"), "--check"]
    done = subprocess.run([*coverage, "docs/Coverage.md"], cwd=ROOT, capture_output=True, text=True)
    checks.check("docs/Coverage.md is up to date", done.stderr.strip() if done.returncode else None)
    print(f"{checks.passed} passed, {checks.failed} failed, 0 skipped", flush=True)
    return 1 if checks.failed else 0


if __name__ == "__main__":
    sys.exit(main())
