//===- PackMemory.cpp - neighbouring loads and stores as one ----------------------------------------------------------===//
//
// A body that computes several neighbouring elements reads and writes neighbouring addresses, one by one. Here those that
// follow each other from an aligned position on become one access of up to 16 bytes, and what is read twice is read once.
// Addresses are compared as sums: coefficient × value, …, + constant. Buffers begin at multiples of 256 bytes.
//
// Before: loads and stores of single elements; equal index arithmetic is one value (CSE has run).
// After: vector.load, vector.extract, vector.from_elements and vector.store where they pay.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "KernelBuilder.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/Dominance.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "llvm/ADT/SetVector.h"

using namespace mlir;
using namespace flame;
using namespace flame::cuda;

namespace {

constexpr int64_t maxBytes = 16;

/// Σ coefficient × value + constant, the values in a fixed order.
struct Sum {
  llvm::SmallVector<std::pair<void *, int64_t>> terms;
  int64_t constant = 0;

  void add(Value value, int64_t factor) {
    if (auto literal = value.getDefiningOp<arith::ConstantIndexOp>()) {
      constant += factor * literal.value();
    } else if (auto sum = value.getDefiningOp<arith::AddIOp>()) {
      add(sum.getLhs(), factor);
      add(sum.getRhs(), factor);
    } else if (auto difference = value.getDefiningOp<arith::SubIOp>()) {
      add(difference.getLhs(), factor);
      add(difference.getRhs(), -factor);
    } else if (auto product = value.getDefiningOp<arith::MulIOp>(); product && literalOf(product.getRhs())) {
      add(product.getLhs(), factor * *literalOf(product.getRhs()));
    } else {
      auto *term = llvm::find_if(terms, [&](auto &t) { return t.first == value.getAsOpaquePointer(); });
      if (term == terms.end())
        terms.push_back({value.getAsOpaquePointer(), factor});
      else
        term->second += factor;
    }
  }
  void finish() {
    llvm::erase_if(terms, [](auto &t) { return t.second == 0; });
    llvm::sort(terms);
  }
  bool isMultipleOf(int64_t n) const {
    return constant % n == 0 && llvm::all_of(terms, [&](auto &t) {
             return t.second % n == 0 || choosesMultiples(Value::getFromOpaquePointer(t.first), n);
           });
  }

private:
  static std::optional<int64_t> literalOf(Value value) {
    auto literal = value.getDefiningOp<arith::ConstantIndexOp>();
    return literal ? std::optional(literal.value()) : std::nullopt;
  }
  /// One of two multiples of n, as chosen on the way.
  static bool choosesMultiples(Value value, int64_t n) {
    auto choice = value.getDefiningOp<arith::SelectOp>();
    if (!choice)
      return false;
    auto yes = literalOf(choice.getTrueValue()), no = literalOf(choice.getFalseValue());
    return yes && no && *yes % n == 0 && *no % n == 0;
  }
};

template <typename Op> struct Access {
  Op op;
  Sum at;
  unsigned order; // in its block
};

template <typename Op> using Groups = SmallVector<SmallVector<Access<Op>>>;

/// The accesses of a block by buffer and by what their addresses have in common.
template <typename Op> Groups<Op> group(Block &block, function_ref<bool(Value)> wanted) {
  Groups<Op> groups;
  unsigned order = 0;
  for (Operation &op : block) {
    ++order;
    auto access = dyn_cast<Op>(&op);
    if (!access || !wanted(access.getMemRef()))
      continue;
    Access<Op> entry{access, {}, order};
    entry.at.add(access.getIndices().front(), 1);
    entry.at.finish();
    auto *found = llvm::find_if(groups, [&](auto &g) {
      return Op(g.front().op).getMemRef() == access.getMemRef() && g.front().at.terms == entry.at.terms;
    });
    if (found == groups.end()) {
      groups.emplace_back();
      found = &groups.back();
    }
    found->push_back(std::move(entry));
  }
  for (auto &g : groups)
    llvm::stable_sort(g, [](auto &a, auto &b) { return a.at.constant < b.at.constant; });
  return groups;
}

/// Calls `pack` with each run of accesses that follow each other, as long as alignment and size allow.
template <typename Op>
void forEachRun(Groups<Op> &groups, function_ref<void(MutableArrayRef<Access<Op>>)> pack) {
  for (auto &g : groups) {
    auto type = cast<MemRefType>(Op(g.front().op).getMemRef().getType()).getElementType();
    int64_t bytes = (type.getIntOrFloatBitWidth() + 7) / 8;
    for (size_t begin = 0; begin < g.size();) {
      size_t count = 1;
      while (begin + count < g.size() && g[begin + count].at.constant == g[begin].at.constant + int64_t(count))
        ++count;
      size_t size = 1;
      while (size * 2 <= count && int64_t(size) * 2 * bytes <= maxBytes && g[begin].at.isMultipleOf(size * 2))
        size *= 2;
      if (size > 1)
        pack(MutableArrayRef(g).slice(begin, size));
      begin += size;
    }
  }
}

void shareLoads(func::FuncOp function, function_ref<bool(Value)> isReadOnly) {
  DominanceInfo dominance(function);
  llvm::DenseMap<std::pair<Value, Value>, SmallVector<memref::LoadOp>> seen;
  SmallVector<Operation *> dead;
  function.walk<WalkOrder::PreOrder>([&](memref::LoadOp load) {
    if (!isReadOnly(load.getMemRef()))
      return;
    auto &earlier = seen[{load.getMemRef(), load.getIndices().front()}];
    for (memref::LoadOp other : earlier)
      if (dominance.properlyDominates(other.getOperation(), load.getOperation())) {
        load.replaceAllUsesWith(other.getResult());
        dead.push_back(load);
        return;
      }
    earlier.push_back(load);
  });
  for (Operation *op : dead)
    op->erase();
}

/// Brings reads that come after the first shuffle or barrier of a block before it: their latency hides behind the others'.
/// With what is read before it, they wait in registers, so there is a limit.
void readEarly(Block &block, function_ref<bool(Value)> isReadOnly) {
  // A block of many threads has some 64 registers for each.
  constexpr int64_t least = 64, most = 160;
  int64_t budget = most;
  Operation *wait = nullptr;
  SmallVector<Operation *> late;
  auto bytesOf = [](Operation *load) {
    Type type = load->getResult(0).getType();
    auto vector = dyn_cast<VectorType>(type);
    return std::max<int64_t>(4, (vector ? vector.getNumElements() : 1) * int64_t(getElementTypeOrSelf(type).getIntOrFloatBitWidth()) / 8);
  };
  for (Operation &op : block) {
    if (!wait && isa<gpu::ShuffleOp, gpu::BarrierOp>(op))
      wait = &op;
    bool reads = (isa<vector::LoadOp>(op) && isReadOnly(cast<vector::LoadOp>(op).getBase())) ||
                 (isa<memref::LoadOp>(op) && isReadOnly(cast<memref::LoadOp>(op).getMemRef()));
    if (wait && reads)
      late.push_back(&op);
    else if (reads)
      budget -= bytesOf(&op);
  }
  budget = std::max(budget, least);
  for (Operation *load : late) {
    budget -= bytesOf(load);
    if (budget < 0)
      return;
    // What its address is made of, if that is arithmetic and nothing else.
    llvm::SetVector<Operation *> needed;
    SmallVector<Operation *> pending{load};
    bool movable = true;
    while (!pending.empty() && movable) {
      Operation *op = pending.pop_back_val();
      if (!needed.insert(op))
        continue;
      for (Value operand : op->getOperands())
        if (Operation *producer = operand.getDefiningOp();
            producer && producer->getBlock() == &block && wait->isBeforeInBlock(producer)) {
          movable &= isPure(producer) && !isa<gpu::ShuffleOp>(producer) && producer->getNumRegions() == 0;
          pending.push_back(producer);
        }
    }
    if (!movable)
      continue;
    SmallVector<Operation *> ordered(needed.begin(), needed.end());
    llvm::sort(ordered, [](Operation *a, Operation *b) { return a->isBeforeInBlock(b); });
    for (Operation *op : ordered)
      op->moveBefore(wait);
  }
}

/// Elements that were all rounded from f32 to the same narrow float just to be stored, as a vector rounded at once; null if they
/// were not.
Value roundTogether(OpBuilder &b, Location loc, ArrayRef<Value> elements) {
  SmallVector<Value> exact;
  Type narrow;
  for (Value element : elements) {
    auto bits = element.getDefiningOp<arith::BitcastOp>();
    auto rounded = (bits ? bits.getIn() : element).getDefiningOp<arith::TruncFOp>();
    if (!rounded || !element.hasOneUse() || !rounded->hasOneUse() || !rounded.getIn().getType().isF32() ||
        (narrow && rounded.getType() != narrow) ||
        !(rounded.getType().isF16() || rounded.getType().isBF16() ||
          isa<Float8E4M3FNType, Float8E5M2Type>(rounded.getType())))
      return {};
    narrow = rounded.getType();
    exact.push_back(rounded.getIn());
  }
  auto typeOf = [&](Type element) { return VectorType::get({int64_t(elements.size())}, element); };
  Value all = vector::FromElementsOp::create(b, loc, typeOf(b.getF32Type()), exact);
  all = arith::TruncFOp::create(b, loc, typeOf(narrow), all);
  Type stored = elements.front().getType();
  return stored == narrow ? all : arith::BitcastOp::create(b, loc, typeOf(stored), all);
}

/// Erases what computes values that nobody reads any more, as far as it is conversions.
void eraseUnused(ArrayRef<Value> values) {
  for (Value value : values)
    for (Operation *op = value.getDefiningOp();
         op && isa<arith::BitcastOp, arith::TruncFOp>(op) && op->use_empty();) {
      Operation *producer = op->getOperand(0).getDefiningOp();
      op->erase();
      op = producer;
    }
}

} // namespace

void flame::cuda::shareLoads(func::FuncOp function) {
  Block &body = function.getBody().front();
  ::shareLoads(function, [&](Value buffer) {
    auto argument = dyn_cast<BlockArgument>(buffer);
    return argument && argument.getOwner() == &body && !function.getArgAttr(argument.getArgNumber(), "flame.written");
  });
}

void flame::cuda::packMemory(func::FuncOp function) {
  Block &body = function.getBody().front();
  auto isArgument = [&](Value buffer, bool written) {
    auto argument = dyn_cast<BlockArgument>(buffer);
    return argument && argument.getOwner() == &body &&
           bool(function.getArgAttr(argument.getArgNumber(), "flame.written")) == written;
  };
  auto isRead = [&](Value buffer) {
    while (auto choice = buffer.getDefiningOp<arith::SelectOp>()) {
      if (!isArgument(choice.getTrueValue(), false))
        return false;
      buffer = choice.getFalseValue();
    }
    return isArgument(buffer, false);
  };
  // Results that the kernel reads back stay as they are: order matters there.
  llvm::SmallPtrSet<Value, 4> readBack;
  function.walk([&](memref::LoadOp load) { readBack.insert(load.getMemRef()); });
  SmallVector<Block *> blocks;
  function.walk([&](Block *block) { blocks.push_back(block); });
  for (Block *block : blocks) {
    auto loads = group<memref::LoadOp>(*block, isRead);
    forEachRun<memref::LoadOp>(loads, [&](MutableArrayRef<Access<memref::LoadOp>> run) {
      // The first of the run must be the first in the block, where its index is known.
      if (llvm::any_of(run, [&](auto &a) { return a.order < run.front().order; }))
        return;
      memref::LoadOp first = run.front().op;
      OpBuilder b(first);
      auto type = VectorType::get({int64_t(run.size())}, first.getType());
      Value all = vector::LoadOp::create(b, first.getLoc(), type, first.getMemRef(), first.getIndices());
      for (auto [i, access] : llvm::enumerate(run))
        access.op.replaceAllUsesWith(vector::ExtractOp::create(b, first.getLoc(), all, int64_t(i)).getResult());
      for (auto &access : run)
        access.op.erase();
    });
    auto stores = group<memref::StoreOp>(
        *block, [&](Value buffer) { return isArgument(buffer, true) && !readBack.contains(buffer); });
    forEachRun<memref::StoreOp>(stores, [&](MutableArrayRef<Access<memref::StoreOp>> run) {
      auto &last = *llvm::max_element(run, [](auto &a, auto &b) { return a.order < b.order; });
      memref::StoreOp first = run.front().op;
      OpBuilder b(last.op);
      SmallVector<Value> elements;
      for (auto &access : run)
        elements.push_back(access.op.getValue());
      Value all = roundTogether(b, first.getLoc(), elements);
      if (!all) {
        auto type = VectorType::get({int64_t(run.size())}, elements.front().getType());
        all = vector::FromElementsOp::create(b, first.getLoc(), type, elements);
      }
      vector::StoreOp::create(b, first.getLoc(), all, first.getMemRef(), first.getIndices());
      for (auto &access : run)
        access.op.erase();
      eraseUnused(elements);
    });
  }
  for (Block *block : blocks)
    readEarly(*block, [&](Value buffer) { return isArgument(buffer, false); });
}
