//===- Models.h - small artifacts that several tests use ------------------===//
#ifndef FLAME_TEST_UNIT_RUNTIME_MODELS_H
#define FLAME_TEST_UNIT_RUNTIME_MODELS_H

#include "PlanBuilder.h"

#include <numeric>

namespace flame::test {

inline std::vector<float> iota(size_t n, float start = 0) {
  std::vector<float> v(n);
  std::iota(v.begin(), v.end(), start);
  return v;
}

/// y = (a + b) * 2 + 1 for f32[n,4], with a temporary in the arena.
inline PlanBuilder addScale() {
  PlanBuilder p;
  const int n = p.symbol("n"), four = p.constant(4), two = p.constant(2), one = p.constant(1);
  const int nExpr = p.symbolExpr(n), count = p.mul(nExpr, four);
  const int a = p.input("a", DType::F32, {nExpr, four}, {"n", "4"});
  const int b = p.input("b", DType::F32, {nExpr, four}, {"n", "4"});
  const int sum = p.arena("sum", DType::F32, {nExpr, four}, 1, 3);
  const int y = p.heap("y", DType::F32, {nExpr, four});
  p.bind(a, {n, -1});
  p.launch("k_add", {a, b, sum}, {}, count, "add_node");
  p.alloc(y);
  p.launch("k_scale", {sum, y}, {two, one}, count, "scale_node");
  p.output("y", y, {"n", "4"});
  return p;
}

/// Loop over i < trip while i < 3: v += 1 (carried f32[2]), scans of v and i.
inline PlanBuilder loop() {
  PlanBuilder p;
  const int two = p.constant(2), one = p.constant(1), k = p.symbol("k"), three = p.constant(3);
  const int trip = p.input("trip", DType::I64, {}, {});
  const int start = p.input("start", DType::F32, {two}, {"2"});
  p.addBlock("init");
  const int body = p.addBlock("body");
  const int i = p.argument("i", DType::I64, {}, body);
  p.argument("c", DType::Bool, {}, body);
  const int v = p.argument("v", DType::F32, {two}, body);
  const int next = p.heap("next", DType::F32, {two}, body);
  const int go = p.arena("go", DType::Bool, {}, 2, 2, body);
  p.alloc(next, body);
  p.launch("k_scale", {v, next}, {one, one}, two, "increment", body);
  p.launch("k_less", {i, go}, {three}, one, "compare", body);
  p.root.blocks[body]->results = {go, next, next, i};
  const int last = p.heap("last", DType::F32, {two});
  const int count = p.symbolExpr(k);
  const int scan = p.heap("scan", DType::F32, {count, two}), indices = p.heap("indices", DType::I64, {count});
  plan::LoopT l;
  l.trip = trip;
  l.body = body;
  l.carried = {start};
  l.results = {last};
  l.scans = {scan, indices};
  p.command(std::move(l), "loop_node");
  p.bind(scan, {k, -1});
  p.output("last", last, {"2"});
  p.output("scan", scan, {"k", "2"});
  p.output("indices", indices, {"k"});
  return p;
}

/// A bit of everything: an init block with a persistent value, an arena, a heap tensor, a branch, a loop over a
/// sequence, string constants, host functions. Inputs: x f32[n,2], c bool. Outputs: y f32[n,2], z f32[4], s string[2],
/// q sequence.
inline PlanBuilder everything() {
  PlanBuilder p;
  const int n = p.symbol("n"), ne = p.symbolExpr(n);
  const int two = p.constant(2), one = p.constant(1), zero = p.constant(0), four = p.constant(4);
  const int count = p.mul(ne, two);
  const int init = p.addBlock("init"), thenBlock = p.addBlock("then"), elseBlock = p.addBlock("else"),
            body = p.addBlock("body");
  const int w = p.data<float>("w", DType::F32, {4}, {1, 2, 3, 4});
  const int folded = p.slot("folded", Storage::Persistent, DType::F32, {four}, init);
  p.launch("k_scale", {w, folded}, {two, one}, four, "fold", init);

  const int x = p.input("x", DType::F32, {ne, two}, {"n", "2"});
  const int c = p.input("c", DType::Bool, {}, {});
  const int t0 = p.arena("t0", DType::F32, {ne, two}, 1, 2), t1 = p.arena("t1", DType::F32, {ne, two}, 2, 4);
  p.bind(x, {n, -1});                                          // 0
  p.launch("k_add", {x, x, t0}, {}, count, "double", 0, four); // 1
  p.launch("k_scale", {t0, t1}, {one, one}, count, "shift");   // 2
  const int y = p.heap("y", DType::F32, {ne, two});
  p.alloc(y);                                                               // 3
  p.launch("k_reverse", {t1, y}, {two}, ne, "swap", 0, one, p.constant(8)); // 4

  const int a = p.heap("a", DType::F32, {four}, thenBlock);
  p.alloc(a, thenBlock);
  p.launch("k_add", {folded, w, a}, {}, four, "then_add", thenBlock);
  p.root.blocks[thenBlock]->results = {a};
  const int b = p.arena("b", DType::F32, {four}, 0, 0, elseBlock);
  p.launch("k_fill", {b}, {two}, four, "else_fill", elseBlock);
  p.root.blocks[elseBlock]->results = {b};
  const int z = p.heap("z", DType::F32, {four});
  plan::IfT branch;
  branch.condition = c;
  branch.then_block = thenBlock;
  branch.else_block = elseBlock;
  branch.results = {z};
  p.command(std::move(branch), "branch"); // 5

  const int left = p.strings("left", {2}, {"some rather long text that is not stored inline", "b"}),
            right = p.strings("right", {1}, {"!"});
  const int s = p.heap("s", DType::String, {two});
  p.host("string_concat", {left, right}, {s}, "concat"); // 6

  auto sequence = [&](const std::string &name, Storage storage, int block) {
    const int slot = p.slot(name, storage, DType::F32, {}, block);
    p.root.slots[slot]->kind = ValueKind::Sequence;
    return slot;
  };
  const int q0 = sequence("q0", Storage::Heap, 0);
  p.host("sequence_empty", {}, {q0}, "empty").attributes.clear(); // 7
  const int trip = p.data<int64_t>("trip", DType::I64, {}, {3});
  p.argument("i", DType::I64, {}, body);
  const int go = p.argument("go", DType::Bool, {}, body);
  const int q = sequence("q", Storage::Input, body);
  p.root.blocks[body]->args.push_back(q);
  const int grown = sequence("grown", Storage::Heap, body);
  p.host("sequence_insert", {q, w}, {grown}, "insert", body);
  const int row = p.arena("row", DType::F32, {two}, 1, 1, body);
  p.launch("k_fill", {row}, {four}, two, "row", body);
  p.root.blocks[body]->results = {go, grown, row};
  const int q1 = sequence("q1", Storage::Heap, 0), rows = p.heap("rows", DType::F32, {p.constant(3), two});
  plan::LoopT l;
  l.trip = trip;
  l.body = body;
  l.carried = {q0};
  l.results = {q1};
  l.scans = {rows};
  p.command(std::move(l), "loop"); // 8
  p.free(q0);                      // 9
  p.output("y", y, {"n", "2"});
  p.output("z", z, {"4"});
  p.output("s", s, {"2"});
  p.output("q", q1, {});
  p.output("rows", rows, {"3", "2"});
  (void)zero;
  return p;
}

} // namespace flame::test

#endif
