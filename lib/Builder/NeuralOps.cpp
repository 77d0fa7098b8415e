//===- NeuralOps.cpp - see NeuralOps.h
//--------------------------------------------------------------------------------===//
#include "flame/Builder/NeuralOps.h"
#include "flame/Ops/Shape.h"
#include "llvm/ADT/Sequence.h"
#include "llvm/ADT/Twine.h"
#include <limits>

using namespace mlir;
using namespace flame;

Standardized flame::standardize(GraphBuilder &g, Value x, ArrayRef<int64_t> axes, double epsilon) {
  Standardized r;
  bool nothing = axes.empty(); // of a rank-2 instance norm: every element is its own mean
  r.mean = nothing ? x : g.mean(x, axes);
  Value difference = g.sub(x, r.mean), squares = g.mul(difference, difference);
  r.variance = nothing ? squares : g.mean(squares, axes);
  r.inverse = g.reciprocal(g.sqrt(g.add(r.variance, g.scalarLike(x, epsilon))));
  r.normalized = g.mul(difference, r.inverse);
  return r;
}

Value flame::rmsNormalize(GraphBuilder &g, Value x, ArrayRef<int64_t> axes, double epsilon) {
  Value root = g.sqrt(g.add(g.mean(g.mul(x, x), axes), g.scalarLike(x, epsilon)));
  // One division a row; the last bit of the quotient is far below what a test can ask for.
  return g.mul(x, g.reciprocal(root));
}

Value flame::groupNormalize(GraphBuilder &g, Value x, int64_t groups, Value scale, Value bias, double epsilon,
                            Type stash) {
  int64_t rank = g.rank(x);
  SmallVector<DimExpr> dims(g.dims(x));
  auto channels = dims[1].constant();
  if (groups <= 0 || (channels && *channels % groups != 0))
    g.fail("num_groups is " + Twine(groups) + ", which doesn't divide the " + Twine(dims[1].str()) + " channels");
  Type type = g.elementType(x);
  // [N, G, C/G, D1, .., Dn] from the input to the result: all of it can then be one row program.
  DimExpr count = g.shapes.constant(groups), inGroup = floorDiv(dims[1], count);
  SmallVector<DimExpr> grouped(dims);
  grouped[1] = inGroup;
  grouped.insert(grouped.begin() + 1, count);
  auto factor = [&](Value v) { // [G, C/G, 1, .., 1], or from [G]
    SmallVector<DimExpr> shape(rank, g.shapes.constant(1));
    shape[0] = count;
    if (g.dim(v, 0) == dims[1])
      shape[1] = inGroup;
    return g.reshape(v, shape);
  };
  Value wide = g.cast(g.reshape(x, grouped), stash);
  Value y = standardize(g, wide, llvm::to_vector(llvm::seq<int64_t>(2, rank + 1)), epsilon).normalized;
  y = g.narrow(y, g.elementType(scale));
  y = g.add(g.mul(y, factor(scale)), factor(bias));
  return g.reshape(g.narrow(y, type), dims);
}

Value flame::splitHeads(GraphBuilder &g, Value x, int64_t heads, StringRef what) {
  DimExpr hidden = g.dim(x, 2);
  if (heads <= 0)
    g.fail("the number of " + what + " heads is " + Twine(heads) + "; it must be given and positive for 3-D inputs");
  if (hidden.constant() && *hidden.constant() % heads != 0)
    g.fail(what + " has " + Twine(*hidden.constant()) + " features, which " + Twine(heads) + " heads don't divide");
  DimExpr width = floorDiv(hidden, g.shapes.constant(heads));
  Value split = g.reshape(x, {g.dim(x, 0), g.dim(x, 1), g.shapes.constant(heads), width});
  return g.transpose(split, {0, 2, 1, 3});
}

Value flame::joinHeads(GraphBuilder &g, Value x) {
  // Heads that were in groups go inside of tokens by one transpose: behind a reshape it would be a copy.
  if (auto joined = x.getDefiningOp<ReshapeOp>(); joined && g.rank(joined.getX()) == 5 && g.dims(joined.getX()).drop_front(3) == g.dims(x).drop_front(2)) {
    SmallVector<DimExpr> dims(g.dims(x));
    return g.reshape(g.transpose(joined.getX(), {0, 3, 1, 2, 4}), {dims[0], dims[2], dims[1] * dims[3]});
  }
  Value joined = g.transpose(x, {0, 2, 1, 3});
  return g.reshape(joined, {g.dim(joined, 0), g.dim(joined, 1), g.dim(joined, 2) * g.dim(joined, 3)});
}

Value flame::multiplyHeads(GraphBuilder &g, Value left, Value right, Type resultType) {
  HeadGroups groups(g, left, right);
  return groups.join(g.matmul(groups.split(left), groups.share(right), resultType));
}

HeadGroups::HeadGroups(GraphBuilder &g, Value queries, Value keys) : g(g), heads(g.dim(queries, 1)), keyHeads(g.dim(keys, 1)) {
  auto a = heads.constant(), b = keyHeads.constant();
  if (a && b && (*b == 0 || *a % *b != 0))
    g.fail("the " + Twine(*a) + " query heads are no multiple of the " + Twine(*b) + " key and value heads");
}

/// [B, H, .., ..] → [B, outer, inner, .., ..]. Where heads were inside of tokens, they are split there: a reshape behind a transpose
/// would be a copy.
static Value splitGroups(GraphBuilder &g, Value x, DimExpr outer, DimExpr inner) {
  auto transpose = x.getDefiningOp<TransposeOp>();
  const bool inside = transpose && transpose.getPerm() == ArrayRef<int64_t>{0, 2, 1, 3};
  const int64_t axis = inside ? 2 : 1;
  Value from = inside ? transpose.getX() : x;
  SmallVector<DimExpr> dims(g.dims(from));
  dims[axis] = outer;
  dims.insert(dims.begin() + axis + 1, inner);
  Value split = g.reshape(from, dims);
  return inside ? g.transpose(split, {0, 2, 3, 1, 4}) : split;
}

Value HeadGroups::split(Value queries) const {
  return grouped() ? splitGroups(g, queries, keyHeads, floorDiv(heads, keyHeads)) : queries;
}

Value HeadGroups::share(Value keys) const { return grouped() ? splitGroups(g, keys, keyHeads, g.shapes.constant(1)) : keys; }

Value HeadGroups::scores(Value queries, Value keys, Type type) const {
  Value shared = share(keys);
  SmallVector<int64_t> turned = llvm::to_vector(llvm::seq<int64_t>(0, g.rank(shared)));
  std::swap(turned[turned.size() - 2], turned.back());
  return g.matmul(split(queries), g.transpose(shared, turned), type);
}

Value HeadGroups::ofScores(Value x) const {
  const int64_t rank = g.rank(x), axis = rank - 3; // of the heads
  if (!grouped() || axis < 0 || (axis == 0 && g.dim(x, axis).isConstant(1)))
    return x;
  if (g.dim(x, axis).isConstant(1))
    return g.unsqueeze(x, axis);
  SmallVector<DimExpr> dims(g.dims(x));
  dims[axis] = heads;
  x = g.expand(x, dims); // where it might be 1 in a run
  dims[axis] = keyHeads;
  dims.insert(dims.begin() + axis + 1, floorDiv(heads, keyHeads));
  return g.reshape(x, dims);
}

Value HeadGroups::join(Value x) const {
  if (!grouped())
    return x;
  SmallVector<DimExpr> dims(g.dims(x));
  dims.erase(dims.begin() + 1);
  dims[1] = heads;
  return g.reshape(x, dims);
}

Value flame::maskFuture(GraphBuilder &g, Value scores, DimExpr past) {
  Type index = g.b.getI64Type();
  int64_t rank = g.rank(scores);
  DimExpr queries = g.dim(scores, rank - 2), keys = g.dim(scores, rank - 1);
  Value position = g.add(g.iota(queries, index), g.reshape(g.shapeTensor(past), GraphBuilder::Axes()));
  Value lowest = g.scalarLike(scores, -std::numeric_limits<double>::infinity());
  return g.where(g.lessEqual(g.iota(keys, index), g.unsqueeze(position, 1)), scores, lowest);
}

Value flame::rotatePairs(GraphBuilder &g, Value x, Value cosine, Value sine, Pairs pairs) {
  int64_t last = g.rank(x) - 1;
  DimExpr zero = g.shapes.constant(0), one = g.shapes.constant(1), two = g.shapes.constant(2);
  SmallVector<DimExpr> dims(g.dims(x)), half(dims);
  half[last] = floorDiv(dims[last], two);
  Value first, second;
  if (pairs == Pairs::Halves) {
    first = g.sliceAxis(x, last, zero, half[last]);
    second = g.sliceAxis(x, last, half[last], half[last]);
  } else {
    SmallVector<DimExpr> starts(dims.size(), zero), steps(dims.size(), one);
    steps[last] = two;
    first = g.slice(x, starts, half, steps);
    starts[last] = one;
    second = g.slice(x, starts, half, steps);
  }
  Value real = g.sub(g.mul(cosine, first), g.mul(sine, second));
  Value imaginary = g.add(g.mul(sine, first), g.mul(cosine, second));
  if (pairs != Pairs::Neighbours)
    return g.concat({real, imaginary}, last);
  return g.reshape(g.concat({g.unsqueeze(real, last + 1), g.unsqueeze(imaginary, last + 1)}, last + 1), dims);
}
