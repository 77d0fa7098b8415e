"""How the programs of this folder that are made of cases end: a report for run_all.py, and the line of totals."""

from __future__ import annotations

import json


def finish(rows, report=None):
    """`rows`: {"name", "status": passed | failed | skipped, "reason"} each. Returns the exit status."""
    if report:
        report.write_text(json.dumps(rows, indent=1))
    count = {status: sum(r["status"] == status for r in rows) for status in ("passed", "failed", "skipped")}
    print("{passed} passed, {failed} failed, {skipped} skipped".format(**count))
    return 1 if count["failed"] else 0
