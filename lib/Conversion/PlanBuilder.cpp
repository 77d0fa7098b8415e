//===- PlanBuilder.cpp - slots, expressions, lifetimes ----------------------------------------------------------------===//
#include "PlanBuilder.h"
#include "flame/Analysis/Demand.h"
#include "mlir/IR/Location.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"

using namespace mlir;
using namespace flame;
using model::Storage;

int32_t PlanBuilder::addBlock(StringRef name, int32_t parent) {
  plan.blocks.push_back({name.str(), {}, {}, {}});
  lists.emplace_back();
  parents.push_back(parent);
  return plan.blocks.size() - 1;
}

bool PlanBuilder::isAncestor(int32_t ancestor, int32_t block) const {
  for (; block != -1; block = parents[block])
    if (block == ancestor)
      return true;
  return false;
}

int32_t PlanBuilder::addSlot(Value value, Storage storage, int32_t block) {
  model::Slot slot;
  slot.storage = storage;
  slot.block = block;
  Type type = value.getType();
  if (auto optional = dyn_cast<OptionalType>(type)) {
    slot.kind = model::ValueKind::Optional;
    type = optional.getElementType();
    if (auto sequence = dyn_cast<SequenceType>(type))
      type = sequence.getElementType();
  } else if (auto sequence = dyn_cast<SequenceType>(type)) {
    slot.kind = model::ValueKind::Sequence;
    type = sequence.getElementType();
  }
  if (auto tensor = dyn_cast<TensorType>(type))
    slot.dtype = dtypeCode(tensor.getElementType());
  if (slot.kind == model::ValueKind::Tensor && isa<RankedTensorType>(type)) {
    slot.hasDims = true;
    for (DimExpr dim : SmallVector<DimExpr>(shapes.dims(value)))
      slot.dims.push_back(expr(dim));
  }
  plan.slots.push_back(std::move(slot));
  return slots[value] = plan.slots.size() - 1;
}

int32_t PlanBuilder::slot(Value value) {
  auto it = slots.find(value);
  assert(it != slots.end() && "a value that is read has a slot");
  return it->second;
}

int32_t PlanBuilder::rootOf(int32_t slot) const {
  while (plan.slots[slot].storage == Storage::Alias)
    slot = plan.slots[slot].source;
  return slot;
}

bool PlanBuilder::knownAtEntry(DimExpr expr, int32_t block) {
  bool known = true;
  forEachSymbol(expr, [&](unsigned symbol) {
    auto origin = shapes.origins().find(symbol);
    if (origin == shapes.origins().end()) {
      known = false;
      return;
    }
    Value value = origin->second.value;
    auto it = slots.find(value);
    if (it == slots.end()) {
      known = false;
      return;
    }
    const model::Slot &slot = plan.slots[it->second];
    bool outer = slot.block != block && (slot.block == -1 || slot.block == initBlock || isAncestor(slot.block, block));
    known &= outer || isa<BlockArgument>(value);
  });
  return known;
}

int32_t PlanBuilder::addResultSlot(Value value, int32_t block) {
  if (block == initBlock)
    return addSlot(value, Storage::Persistent, block);
  bool known = llvm::all_of(SmallVector<DimExpr>(shapes.dims(value)),
                            [&](DimExpr dim) { return knownAtEntry(dim, block); });
  return addSlot(value, known ? Storage::Arena : Storage::Heap, block);
}

void PlanBuilder::toHeap(int32_t slot) {
  model::Slot &owner = plan.slots[slot];
  if (owner.storage != Storage::Arena)
    return;
  owner.storage = Storage::Heap;
  // Allocate it right before the command that first writes it.
  auto &list = lists[owner.block];
  for (size_t i = 0; i < list.size(); ++i) {
    bool writes = false;
    forEachSlot(list[i].command, [&](int32_t used) { writes |= used == slot; });
    if (writes) {
      Entry alloc{model::Command{model::Alloc{slot}, list[i].command.nodes}, {}};
      list.insert(list.begin() + i, std::move(alloc));
      return;
    }
  }
}

// ---- expressions

int32_t PlanBuilder::planSymbol(unsigned symbol) {
  auto [it, inserted] = symbolIds.insert({symbol, int32_t(plan.symbols.size())});
  if (inserted)
    plan.symbols.push_back(shapes.exprs().symbolName(symbol).str());
  return it->second;
}

int32_t PlanBuilder::expr(DimExpr e) {
  if (auto it = exprCache.find(e); it != exprCache.end())
    return it->second;
  struct Visitor : DimVisitor<int32_t> {
    PlanBuilder &b;
    explicit Visitor(PlanBuilder &b) : b(b) {}
    int32_t intern(model::Expr expr) {
      auto [it, inserted] = b.exprIds.insert({expr, int32_t(b.plan.exprs.size())});
      if (inserted)
        b.plan.exprs.push_back(expr);
      return it->second;
    }
    int32_t constant(int64_t value) override { return intern({model::ExprOp::Const, -1, -1, value}); }
    int32_t symbol(unsigned symbol) override { return intern({model::ExprOp::Symbol, b.planSymbol(symbol), -1, 0}); }
    int32_t add(int32_t x, int32_t y) override { return intern({model::ExprOp::Add, x, y, 0}); }
    int32_t mul(int32_t x, int32_t y) override { return intern({model::ExprOp::Mul, x, y, 0}); }
    int32_t floorDiv(int32_t x, int32_t y) override { return intern({model::ExprOp::FloorDiv, x, y, 0}); }
    int32_t mod(int32_t x, int32_t y) override { return intern({model::ExprOp::Mod, x, y, 0}); }
    int32_t min(int32_t x, int32_t y) override { return intern({model::ExprOp::Min, x, y, 0}); }
    int32_t max(int32_t x, int32_t y) override { return intern({model::ExprOp::Max, x, y, 0}); }
  };
  int32_t id = Visitor(*this).visit(e);
  exprCache[e] = id;
  return id;
}

bool PlanBuilder::knowsSymbols(DimExpr e) {
  struct Visitor : DimVisitor<bool> {
    PlanBuilder &b;
    explicit Visitor(PlanBuilder &b) : b(b) {}
    bool constant(int64_t) override { return true; }
    bool symbol(unsigned symbol) override { return b.symbolIds.contains(symbol); }
    bool add(bool x, bool y) override { return x && y; }
    bool mul(bool x, bool y) override { return x && y; }
    bool floorDiv(bool x, bool y) override { return x && y; }
    bool mod(bool x, bool y) override { return x && y; }
    bool min(bool x, bool y) override { return x && y; }
    bool max(bool x, bool y) override { return x && y; }
  };
  return Visitor(*this).visit(e);
}

void PlanBuilder::bindDims(Value value, int32_t slot, int32_t block) {
  if (!isa<RankedTensorType>(value.getType()))
    return;
  model::BindDims bind{slot, {}};
  bool any = false;
  SmallVector<DimExpr> dims(shapes.dims(value));
  for (auto [d, dim] : llvm::enumerate(dims)) {
    int32_t bound = -1;
    if (auto symbol = dim.symbol()) {
      auto origin = shapes.origins().find(*symbol);
      if (origin != shapes.origins().end() && origin->second.kind == SymbolOrigin::Dim &&
          origin->second.value == value && origin->second.index == int64_t(d)) {
        bound = planSymbol(*symbol);
        any = true;
      }
    }
    bind.symbols.push_back(bound);
  }
  SmallVector<int32_t> none;
  if (any)
    append(block, bind, none);
}

void PlanBuilder::checks(Operation *op, int32_t block, ArrayRef<int32_t> nodes) {
  for (const Requirement &requirement : shapes.requirements()) {
    if (requirement.op != op && !op->isProperAncestor(requirement.op))
      continue;
    int32_t a = expr(requirement.a), c = expr(requirement.b);
    if (!emittedChecks.insert({{int(requirement.relation), a, c, block}, true}).second)
      continue;
    append(block, model::Check{uint8_t(requirement.relation), a, c, requirement.message}, nodes);
  }
}

// ---- names

int32_t PlanBuilder::kernel(const KernelLaunch &launch, RegionOp region) {
  auto [it, inserted] = kernelIds.insert({launch.symbol, int32_t(plan.kernels.size())});
  if (inserted) {
    std::string text = region.getAnchor().str() + ":";
    for (Operation &op : region.getBlock()->without_terminator())
      if (op.getName().getStringRef() != "flame.constant")
        text += " " + op.getName().stripDialect().str();
    plan.kernels.push_back({launch.symbol, text, launch.threads, launch.shared, 0, launch.state, launch.cooperative,
                            launch.sharedBefore90, launch.waits, launch.wgmmaThreads, launch.wgmmaShared,
                            launch.wgmmaCluster, launch.leastBlocks});
  }
  return it->second;
}

static void collectNames(Location loc, llvm::SetVector<StringRef> &names) {
  if (auto name = dyn_cast<NameLoc>(loc))
    names.insert(name.getName().strref());
  else if (auto fused = dyn_cast<FusedLoc>(loc))
    for (Location inner : fused.getLocations())
      collectNames(inner, names);
}

SmallVector<int32_t> PlanBuilder::nodes(Operation *op) {
  llvm::SetVector<StringRef> names;
  collectNames(op->getLoc(), names);
  SmallVector<int32_t> ids;
  for (StringRef name : names) {
    auto [it, inserted] = nodeIds.insert({name.str(), int32_t(plan.nodeNames.size())});
    if (inserted)
      plan.nodeNames.push_back(name.str());
    ids.push_back(it->second);
  }
  return ids;
}

// ---- finishing

void PlanBuilder::forEachSlot(const model::Command &command, function_ref<void(int32_t)> use) {
  auto all = [&](const std::vector<int32_t> &list) {
    for (int32_t slot : list)
      if (slot != -1)
        use(slot);
  };
  auto one = [&](int32_t slot) {
    if (slot != -1)
      use(slot);
  };
  auto nested = [&](int32_t block) {
    for (const Entry &entry : lists[block])
      forEachSlot(entry.command, use);
    all(plan.blocks[block].results);
  };
  if (auto *c = std::get_if<model::Alloc>(&command.body))
    one(c->slot);
  else if (auto *c = std::get_if<model::Free>(&command.body))
    one(c->slot);
  else if (auto *c = std::get_if<model::Launch>(&command.body))
    all(c->buffers);
  else if (auto *c = std::get_if<model::HostCall>(&command.body)) {
    all(c->inputs);
    all(c->outputs);
  } else if (auto *c = std::get_if<model::BindDims>(&command.body))
    one(c->slot);
  else if (auto *c = std::get_if<model::ReadElement>(&command.body))
    one(c->slot);
  else if (auto *c = std::get_if<model::Alias>(&command.body)) {
    one(c->src);
    one(c->dst);
  } else if (auto *c = std::get_if<model::Copy>(&command.body)) {
    one(c->src);
    one(c->dst);
  } else if (auto *c = std::get_if<model::If>(&command.body)) {
    one(c->condition);
    all(c->results);
    nested(c->thenBlock);
    nested(c->elseBlock);
  } else if (auto *c = std::get_if<model::Loop>(&command.body)) {
    one(c->trip);
    one(c->condition);
    all(c->carried);
    all(c->results);
    all(c->scans);
    nested(c->body);
  }
}

LogicalResult PlanBuilder::insertReads() {
  // Reading may need no further symbols, but symbols appear in the order they were used: one sweep is enough.
  for (auto [symbol, id] : symbolIds) {
    auto origin = shapes.origins().find(symbol);
    if (origin == shapes.origins().end() || origin->second.kind != SymbolOrigin::Element)
      continue;
    Value value = origin->second.value;
    auto it = slots.find(value);
    if (it == slots.end())
      return emitError(value.getLoc(), "internal: the plan reads an element of a value that it does not compute");
    model::ReadElement read{it->second, origin->second.index, id};
    const model::Slot &slot = plan.slots[it->second];
    int32_t block = slot.block == -1 || slot.block == initBlock ? mainBlock : slot.block;
    auto &list = lists[block];
    size_t at = 0;
    if (isa<BlockArgument>(value) || block != slot.block) {
      // Behind the bindings at the block's head.
      while (at < list.size() && std::holds_alternative<model::BindDims>(list[at].command.body))
        ++at;
    } else {
      for (size_t i = 0; i < list.size(); ++i)
        if (llvm::is_contained(list[i].makes, value))
          at = i + 1;
    }
    list.insert(list.begin() + at, Entry{model::Command{read, {}}, {}});
  }
  return success();
}

void PlanBuilder::computeLifetimes() {
  for (size_t block = 0; block < lists.size(); ++block) {
    auto &list = lists[block];
    // Heap tensors that leave the block by no result and have no alias are freed behind their last use.
    DenseMap<int32_t, size_t> lastUse;
    DenseSet<int32_t> aliased;
    for (const model::Slot &slot : plan.slots)
      if (slot.storage == Storage::Alias)
        aliased.insert(slot.source);
    for (size_t i = 0; i < list.size(); ++i)
      forEachSlot(list[i].command, [&](int32_t slot) { lastUse[slot] = i; });
    std::vector<std::vector<int32_t>> frees(list.size());
    for (size_t slot = 0; slot < plan.slots.size(); ++slot) {
      const model::Slot &s = plan.slots[slot];
      if (s.storage == Storage::Heap && s.block == int32_t(block) && !aliased.contains(slot) && lastUse.count(slot) &&
          !llvm::is_contained(plan.blocks[block].results, int32_t(slot)))
        frees[lastUse[slot]].push_back(slot);
    }
    std::vector<Entry> finished;
    for (size_t i = 0; i < list.size(); ++i) {
      finished.push_back(std::move(list[i]));
      for (int32_t slot : frees[i])
        finished.push_back({model::Command{model::Free{slot}, {}}, {}});
    }
    list = std::move(finished);
  }
  for (size_t block = 0; block < lists.size(); ++block)
    for (size_t i = 0; i < lists[block].size(); ++i)
      forEachSlot(lists[block][i].command, [&](int32_t used) {
        model::Slot &root = plan.slots[rootOf(used)];
        if (root.storage != Storage::Arena || root.block != int32_t(block))
          return;
        if (root.first == -1)
          root.first = i;
        root.last = i;
      });
}

LogicalResult PlanBuilder::finish() {
  if (failed(insertReads()))
    return failure();
  computeLifetimes();
  for (size_t block = 0; block < lists.size(); ++block)
    for (Entry &entry : lists[block])
      plan.blocks[block].commands.push_back(std::move(entry.command));
  return success();
}
