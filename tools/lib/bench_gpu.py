"""What the benchmarks on a GPU share: a clock by CUDA events, and tables."""

from __future__ import annotations


def clock():
    """A function (call, count) -> µs of one of `count` calls in a row on torch's current stream."""
    import torch

    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)

    def timed(call, count):
        start.record()
        for _ in range(count):
            call()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) / count * 1e3

    return timed


def print_table(head, lines, markdown, left=1):
    """The first `left` columns are text, the others numbers."""
    if markdown:
        print("| " + " | ".join(head) + " |\n|" + " --- |" * left + " ---: |" * (len(head) - left), flush=True)
        for line in lines:
            print("| " + " | ".join(line) + " |")
        return
    widths = [max(len(line[i]) for line in [head, *lines]) for i in range(len(head))]
    for line in [head, *lines]:
        print("  ".join(t.ljust(w) if i < left else t.rjust(w) for i, (t, w) in enumerate(zip(line, widths))), flush=True)
