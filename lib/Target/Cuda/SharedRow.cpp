//===- SharedRow.cpp - see SharedRow.h ----------------------------------------------------------------------------===//
#include "SharedRow.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace flame;
using namespace flame::cuda;
using arith::CmpIPredicate;

int64_t flame::cuda::bytesOfRow(KernelBuilder &kernel, ArrayRef<DimExpr> dims, size_t outer) {
  int64_t columns = 1, bytes = 0;
  for (DimExpr dim : dims.drop_front(outer))
    columns *= dim.constant().value_or(0);
  for (BlockArgument input : kernel.region.getBlock()->getArguments())
    if (kernel.shapes.dims(input) == dims)
      bytes += columns * storageType(getElementTypeOrSelf(input.getType())).getIntOrFloatBitWidth() / 8;
  return bytes;
}

SharedRowBuilder::SharedRowBuilder(KernelBuilder &kernel, ArrayRef<DimExpr> outer, ArrayRef<DimExpr> inner, int width)
    : ElementBuilder(kernel.b, kernel.loc, kernel, kernel.shapes), kernel(kernel), outer(outer), inner(inner),
      width(width), rows(kernel.shapes.constant(1)) {
  for (DimExpr dim : outer)
    rows = rows * dim;
  for (DimExpr dim : inner)
    columns *= *dim.constant();
  groups = columns / width;
  syncMembers = [&kernel] { kernel.barrier(); };
}

Value SharedRowBuilder::loadShared(Value memory, Value position) { return memref::LoadOp::create(b, loc, memory, position); }

/// Appends an index without its dims of one element, for which every number is the same.
void SharedRowBuilder::appendKey(Key &key, ArrayRef<DimExpr> dims, ValueRange index) {
  for (auto [dim, i] : llvm::zip(dims, index))
    if (!dim.isConstant(1))
      key.push_back(i);
}

std::function<Value(ValueRange)> SharedRowBuilder::elementsOf(Value value) {
  return [this, value](ValueRange inside) {
    Values full(at);
    llvm::append_range(full, inside);
    return element(value, full);
  };
}

Value SharedRowBuilder::fold(ArrayRef<DimExpr> extents, Value init, function_ref<Value(Value, Value)> combine,
                             function_ref<Value(ValueRange)> element) {
  DimExpr size = shapes().constant(1);
  for (DimExpr extent : extents)
    size = size * extent;
  if (part == Part::None || !size.isConstant(columns))
    return ElementBuilder::fold(extents, init, combine, element);
  if (part == Part::Count)
    return counted = foldPiece(extents, init, combine, element);
  return joinPieces(init, combine, [&](Value piece) { return loadShared(collected[0], piece); });
}

// ---- pieces in shared memory

int64_t SharedRowBuilder::chooseHeld(function_ref<bool(int)> fits) {
  SmallVector<DimExpr> full(outer);
  llvm::append_range(full, inner);
  int64_t bytes = 0;
  for (BlockArgument input : kernel.region.getBlock()->getArguments()) {
    int size = width * storageType(getElementTypeOrSelf(input.getType())).getIntOrFloatBitWidth() / 8;
    if (shapes().dims(input) == ArrayRef<DimExpr>(full) && fits(size) && !input.use_empty()) {
      held.push_back({input, {}, size});
      bytes += size;
    }
  }
  return bytes;
}

void SharedRowBuilder::sortResults() {
  for (auto [i, value] : llvm::enumerate(kernel.region.getYielded())) {
    ArrayRef<DimExpr> dims = shapes().dims(value);
    auto *same = llvm::find_if(other, [&](auto &g) { return shapes().dims(kernel.region.getYielded()[g.front()]) == dims; });
    if (dims.drop_front(outer.size()) == inner)
      whole.push_back(i);
    else if (same != other.end())
      same->push_back(i);
    else
      other.push_back({unsigned(i)});
  }
}

void SharedRowBuilder::watchHeld() {
  kernel.heldElement = [this](Value value, ValueRange index) {
    Key key;
    appendKey(key, shapes().dims(value), index);
    auto found = elements.find({value, key});
    return found == elements.end() ? Value() : found->second;
  };
}

/// The indices of the elements of the piece's group `slot`. Where pieces lie within the dims behind the first few, the first few
/// indices are the piece's.
SmallVector<ElementBuilder::Values> SharedRowBuilder::neighbours(Value slot, ArrayRef<DimExpr> dims) {
  SmallVector<DimExpr> grouped(dims);
  if (width > 1)
    grouped.back() = shapes().constant(*dims.back().constant() / width);
  Value group = addi(begin, slot);
  Values first = delinearize(group, grouped);
  int64_t run = 1;
  size_t common = grouped.size();
  while (common > 0 && (evenPieces == 0 || run % evenPieces != 0))
    run *= *grouped[--common].constant();
  if (common > 0 && run < groups) {
    ArrayRef<DimExpr> leading = ArrayRef<DimExpr>(grouped).take_front(common);
    Value whole = linearize(ValueRange(first).take_front(common + 1), ArrayRef<DimExpr>(grouped).take_front(common + 1));
    Values ofPiece = delinearize(divi(begin, index(run)), leading);
    kernel.noteSplit(linearize(ofPiece, leading), first[common], grouped[common], whole);
    llvm::copy(ofPiece, first.begin());
  }
  if (width == 1)
    return {first};
  SmallVector<Values> all;
  for (int i = 0; i < width; ++i) {
    all.push_back(first);
    kernel.enterLane(*this, all.back(), group, dims, width, i);
  }
  return all;
}

/// From here on in this scope, loads of the group's elements find them in shared memory.
void SharedRowBuilder::enterHeld(Value slot, ArrayRef<Values> group, ArrayRef<DimExpr> dims) {
  for (Held &h : held) {
    Type type = cast<MemRefType>(h.memory.getType()).getElementType();
    Value position = muli(slot, index(width)), all;
    if (place)
      position = addi(muli(place, index(placeBytes / (type.getIntOrFloatBitWidth() / 8))), position);
    if (width > 1)
      all = vector::LoadOp::create(b, loc, VectorType::get({width}, type), h.memory, position);
    for (auto [lane, element] : llvm::enumerate(group)) {
      Key key;
      appendKey(key, outer, at);
      appendKey(key, dims, element);
      elements[{h.input, key}] =
          width > 1 ? vector::ExtractOp::create(b, loc, all, int64_t(lane)).getResult() : loadShared(h.memory, position);
    }
  }
}

ElementBuilder::Values SharedRowBuilder::overSlots(Value low, Value high, int64_t known, ValueRange init,
                                                   function_ref<Values(Value, ValueRange)> body) {
  if (!known)
    return loop(low, high, index(members), init, body);
  return loop(index(0), index(known), init, [&](Value turn, ValueRange carried) {
    return body(addi(muli(turn, index(members)), low), carried);
  });
}

/// Runs `body` with those of this thread's groups from slot `low` on that lie below `high`.
ElementBuilder::Values SharedRowBuilder::overGroups(Value low, Value high, int64_t known, bool areHeld, ArrayRef<DimExpr> dims,
                                                    ValueRange init, Body body, function_ref<void(Value)> afterHeld) {
  return overSlots(low, high, known, init, [&](Value slot, ValueRange carried) {
    SmallVector<Values> group = neighbours(slot, dims);
    if (areHeld)
      enterHeld(slot, group, dims);
    Values next = body(group, carried);
    elements.clear();
    if (areHeld && afterHeld)
      afterHeld(slot);
    return next;
  });
}

ElementBuilder::Values SharedRowBuilder::overPiece(ArrayRef<DimExpr> dims, ValueRange init, Body body,
                                                   function_ref<void(Value)> afterHeld) {
  Values carried(init);
  auto run = [&](Value low, Value high, bool isHeld) {
    carried = overGroups(low, high, turns, isHeld, dims, carried, body, afterHeld);
    Block *block = b.getInsertionBlock();
    auto rows = b.getInsertionPoint() == block->begin() ? scf::ForOp() : dyn_cast<scf::ForOp>(*std::prev(b.getInsertionPoint()));
    if (rows && unroll > 1)
      rows->setAttr("flame.unroll", b.getI64IntegerAttr(unroll));
  };
  switch (holds) {
  case Holds::Nothing:
    run(self, count, false);
    break;
  case Holds::First:
    if (capacity)
      run(self, mini(count, index(capacity)), true);
    run(addi(self, index(capacity)), count, false);
    break;
  case Holds::All:
    run(self, count, true);
    break;
  }
  return carried;
}

// ---- reductions

/// The piece's part of a reduction. Neighbours of a group are summed up by themselves, so that additions need not wait for
/// each other.
Value SharedRowBuilder::foldPiece(ArrayRef<DimExpr> dims, Value init, function_ref<Value(Value, Value)> combine,
                                  function_ref<Value(ValueRange)> element) {
  Part saved = std::exchange(part, Part::None);
  const int chains = std::min(width, 4);
  Values partials = overPiece(dims, Values(chains, init), [&](ArrayRef<Values> group, ValueRange sums) {
    Values next(sums);
    for (auto [i, inside] : llvm::enumerate(group))
      next[i % chains] = combine(next[i % chains], element(inside));
    return next;
  });
  part = saved;
  Value all = partials[0];
  for (Value partial : llvm::drop_begin(partials))
    all = combine(all, partial);
  return joinBlock(kernel, *this, members, members, joinWarp(*this, all, combine), combine, self, syncMembers);
}

Value SharedRowBuilder::joinPieces(Value init, function_ref<Value(Value, Value)> combine,
                                   function_ref<Value(Value)> partial) {
  if (turns) {
    Value all = partial(index(0));
    for (int64_t piece = 1; piece * capacity < groups; ++piece)
      all = combine(all, partial(index(piece)));
    return all;
  }
  Value sum = loop(joinSelf, pieces, index(joiners), init, [&](Value piece, ValueRange carried) {
    return Values{combine(carried[0], partial(piece))};
  })[0];
  sum = joinWarp(*this, sum, combine);
  return joiners > warpSize ? joinBlock(kernel, *this, joiners, joiners, sum, combine, joinSelf, syncMembers) : sum;
}

/// Elements of a piece, at least 1: one without any has sums of 0.
Value SharedRowBuilder::elementsIn(Value piece, Type type) {
  if (turns)
    return fromIndex(index(capacity * width), type);
  Value its = clampi(subi(index(groups), muli(piece, chunk)), index(0), chunk);
  return fromIndex(maxi(muli(its, index(width)), index(1)), type);
}

/// Infinity minus infinity is no number: what is not finite stays in the exponent.
Value SharedRowBuilder::finiteOrZero(Value x, Type type) {
  ScalarBuilder s = scalars(type);
  return s.select(s.lt(s.abs(x), s.number(type, std::numeric_limits<double>::infinity())), x, s.number(type, 0));
}

/// In one pass: a thread sums up differences from a number of its own, the mean of its first group, and their squares. What
/// that number is off the thread's mean by is the mean of the group's own differences from it, so its square is no more than the
/// mean of their squares (Jensen): with m groups a thread the sum of squares is at most 1 + m times as large as it is about the mean,
/// and so is its relative error.
SharedRowBuilder::Sums SharedRowBuilder::countThread(std::function<Value(ValueRange)> element, Type type) {
  ScalarBuilder s = scalars(type);
  Value zero = s.number(type, 0);
  auto sumOf = [&](ValueRange terms) {
    Value all = terms[0];
    for (Value term : terms.drop_front())
      all = s.add(all, term);
    return all;
  };
  Part saved = std::exchange(part, Part::None);
  Value shift = overGroups(self, mini(count, addi(self, index(1))), /*known=*/turns ? 1 : 0, holds != Holds::Nothing && capacity > 0, inner, zero,
                           [&](ArrayRef<Values> group, ValueRange) {
                             Values terms;
                             for (const Values &inside : group)
                               terms.push_back(element(inside));
                             return Values{s.mul(sumOf(terms), s.number(type, 1.0 / width))};
                           })[0];
  const int chains = std::min(width, 4);
  Values partials = overPiece(inner, Values(2 * chains, zero), [&](ArrayRef<Values> group, ValueRange sums) {
    Values next(sums);
    for (auto [i, inside] : llvm::enumerate(group)) {
      Value off = s.sub(element(inside), shift), &sum = next[i % chains], &squares = next[chains + i % chains];
      sum = s.add(sum, off);
      squares = s.add(squares, s.mul(off, off));
    }
    return next;
  });
  part = saved;
  Value size = fromIndex(muli(ceilDivide(maxi(subi(count, self), index(0)), index(members)), index(width)), type);
  return {size, shift, sumOf(ValueRange(partials).take_front(chains)), sumOf(ValueRange(partials).drop_front(chains))};
}

/// The sum of the thread's squared differences from another number.
Value SharedRowBuilder::squaresFrom(const Sums &own, Value mean, Type type) {
  ScalarBuilder s = scalars(type);
  Value off = s.sub(own.shift, mean);
  return s.add(own.squares, s.mul(off, s.add(s.add(own.sum, own.sum), s.mul(own.size, off))));
}

SharedRowBuilder::Moments SharedRowBuilder::countWarp(RowStage stage) {
  Type type = getElementTypeOrSelf(stage.first.getResult().getType());
  ScalarBuilder s = scalars(type);
  auto joined = [&](Value x) { return joinWarp(*this, x, [&](Value a, Value c) { return s.add(a, c); }); };
  Sums own = countThread(elementsOf(stage.first.getX()), type);
  // Threads take groups in turns; in the last turn the first ones do.
  Value turns = divi(count, index(members)), rest = subi(count, muli(turns, index(members)));
  Value first = subi(self, remi(self, index(warpSize)));
  Value size = addi(muli(turns, index(warpSize)), clampi(subi(rest, first), index(0), index(warpSize)));
  Moments of;
  of.size = fromIndex(muli(size, index(width)), type);
  of.mean = s.div(joined(s.add(s.mul(own.size, own.shift), own.sum)), s.max(of.size, s.number(type, 1)));
  of.squares = joined(squaresFrom(own, of.mean, type));
  return of;
}

void SharedRowBuilder::joinWarps(Moments own, int warps, Value self, Value size, Value turn, bool everywhere,
                                 function_ref<void(Value, Value)> then) {
  Type type = own.mean.getType();
  ScalarBuilder s = scalars(type);
  Values memories, numbers{own.size, own.mean, own.squares};
  for (size_t i = 0; i < numbers.size(); ++i)
    memories.push_back(kernel.sharedMemory(type, (turn ? 2 : 1) * warps));
  Value lane = remi(self, index(warpSize)), begin = turn ? muli(turn, index(warps)) : index(0);
  ifThen(cmpi(CmpIPredicate::eq, lane, index(0)), [&] {
    for (auto [memory, number] : llvm::zip(memories, numbers))
      memref::StoreOp::create(b, loc, number, memory, addi(begin, divi(self, index(warpSize))));
  });
  syncMembers();
  auto join = [&] {
    Values theirs;
    for (Value memory : memories)
      theirs.push_back(loadShared(memory, addi(begin, remi(lane, index(warps)))));
    auto sum = [&](Value x) { return joinWarp(*this, x, [&](Value a, Value c) { return s.add(a, c); }, warps); };
    Value mean = s.div(sum(s.mul(theirs[0], theirs[1])), size), off = s.sub(theirs[1], mean);
    // A warp without elements is no part of it.
    Value between = s.select(s.eq(theirs[0], s.number(type, 0)), s.number(type, 0), s.mul(theirs[0], s.mul(off, off)));
    then(mean, sum(s.add(theirs[2], between)));
  };
  if (everywhere)
    join();
  else
    ifThen(cmpi(CmpIPredicate::slt, self, index(warpSize)), join);
}

ElementBuilder::Values SharedRowBuilder::countStage(RowStage stage) {
  Value first = stage.first.getResult();
  if (!stage.second) {
    part = Part::Count;
    Values full(at);
    full.resize(shapes().rank(first), index(0));
    scope([&] { element(first, full); }); // what is made of the sum is made of the sum of all
    part = Part::None;
    return {counted};
  }
  Type type = getElementTypeOrSelf(first.getType());
  ScalarBuilder s = scalars(type);
  Value zero = s.number(type, 0), own;
  auto add = [&](Value a, Value c) { return s.add(a, c); };
  auto larger = [&](Value a, Value c) { return s.max(a, c); };
  own = foldPiece(inner, s.lowest(type), larger, elementsOf(stage.first.getX()));
  setScalar(first, finiteOrZero(own, type));
  Value second = foldPiece(inner, zero, add, elementsOf(stage.second.getX()));
  clearScalar(first);
  return {own, second};
}

void SharedRowBuilder::joinStage(RowStage stage, ValueRange all) {
  Value first = stage.first.getResult();
  if (!stage.second) {
    part = Part::Join;
    collected = Values(all);
    Values full(at);
    full.resize(shapes().rank(first), index(0));
    setScalar(first, element(first, full));
    part = Part::None;
    return;
  }
  Type type = getElementTypeOrSelf(first.getType());
  ScalarBuilder s = scalars(type);
  Value zero = s.number(type, 0), second = stage.second.getResult();
  auto add = [&](Value a, Value c) { return s.add(a, c); };
  if (stage.first.getKind() == "mean") {
    if (turns) {
      Value size = elementsIn({}, type);
      auto sum = [&](function_ref<Value(Value)> of) { return joinPieces({}, add, of); };
      Value mean = s.div(sum([&](Value piece) { return loadShared(all[0], piece); }), fromIndex(index(groups / capacity), type));
      Value square = sum([&](Value piece) {
        Value off = s.sub(loadShared(all[0], piece), mean);
        return s.add(loadShared(all[1], piece), s.mul(size, s.mul(off, off)));
      });
      setScalar(first, mean);
      setScalar(second, stage.second.getKind() == "mean" ? s.div(square, fromIndex(index(columns), type)) : square);
      return;
    }
    // In one pass, of differences from the mean of the thread's first piece, as countThread does it with elements.
    Value means = all[0], squares = all[1], last = subi(pieces, index(1));
    Value shift = loadShared(means, mini(joinSelf, last));
    Value whole = fromIndex(muli(chunk, index(width)), type);
    auto sizeOf = [&](Value piece) {
      if (evenPieces)
        return select(cmpi(CmpIPredicate::eq, piece, last), elementsIn(last, type), whole);
      // A piece without elements is no part of the row.
      return select(cmpi(CmpIPredicate::slt, muli(piece, chunk), index(groups)), elementsIn(piece, type), zero);
    };
    Values sums = loop(joinSelf, pieces, index(joiners), Values{zero, zero, zero}, [&](Value piece, ValueRange carried) {
      Value size = sizeOf(piece), off = s.sub(loadShared(means, piece), shift), part = s.mul(size, off);
      return Values{s.add(carried[0], size), s.add(carried[1], part),
                    s.add(carried[2], s.add(loadShared(squares, piece), s.mul(part, off)))};
    });
    auto joined = [&](Value x) {
      x = joinWarp(*this, x, add);
      return joiners > warpSize ? joinBlock(kernel, *this, joiners, joiners, x, add, joinSelf, syncMembers) : x;
    };
    Sums own{sums[0], shift, sums[1], sums[2]};
    Value total = fromIndex(index(columns), type);
    Value mean = s.div(joined(s.add(s.mul(own.size, own.shift), own.sum)), total), square = joined(squaresFrom(own, mean, type));
    setScalar(first, mean);
    setScalar(second, stage.second.getKind() == "mean" ? s.div(square, total) : square);
    return;
  }
  Value maxima = all[0], sums = all[1];
  Value largest = joinPieces(s.lowest(type), [&](Value a, Value c) { return s.max(a, c); },
                             [&](Value piece) { return loadShared(maxima, piece); });
  setScalar(second, joinPieces(zero, add, [&](Value piece) {
              Value sum = loadShared(sums, piece);
              Value scaled = s.mul(sum, s.exp(s.sub(finiteOrZero(loadShared(maxima, piece), type), largest)));
              return s.select(s.eq(sum, zero), zero, scaled); // of a piece without numbers
            }));
  setScalar(first, largest);
}

// ---- results

void SharedRowBuilder::storeWhole(function_ref<void(Value)> afterHeld) {
  auto store = [&](ArrayRef<Values> group, ValueRange) {
    SmallVector<Values> scalars(whole.size()), indices;
    for (const Values &inside : group) {
      Values full(at);
      llvm::append_range(full, inside);
      for (auto [i, result] : llvm::enumerate(whole))
        scalars[i].push_back(element(kernel.region.getYielded()[result], full));
      indices.push_back(std::move(full));
    }
    for (auto [i, result] : llvm::enumerate(whole))
      for (auto [index, scalar] : llvm::zip(indices, scalars[i]))
        kernel.storeResult(*this, result, index, scalar);
    return Values();
  };
  overPiece(inner, {}, store, afterHeld);
}

void SharedRowBuilder::storeOther(Value first, Value step) {
  for (auto &results : other) {
    SmallVector<DimExpr> dims(
        ArrayRef<DimExpr>(shapes().dims(kernel.region.getYielded()[results.front()])).drop_front(outer.size()));
    DimExpr size = shapes().constant(1);
    for (DimExpr dim : dims)
      size = size * dim;
    loop(first, expr(size), step, {}, [&](Value column, ValueRange) {
      Values full(at);
      llvm::append_range(full, delinearize(column, dims));
      for (unsigned result : results)
        kernel.storeResult(*this, result, full, element(kernel.region.getYielded()[result], full));
      return Values();
    });
  }
}
