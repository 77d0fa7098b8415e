//===- PlanValidator.cpp - every index of a plan, checked once ------------===//
//
// What holds afterwards, and the executor relies on: see validatePlan in Plan.h. Nothing here allocates in proportion
// to anything but the plan's own size, and no recursion is deeper than kMaxNesting.
//
//===----------------------------------------------------------------------===//

#include "Plan.h"
#include "Residency.h"

#include <algorithm>

namespace flame::rt {

namespace {

constexpr int kMaxNesting = 200; // an interpreter frame per level

template <typename... Args> [[noreturn]] void bad(const Args &...args) { fail(FLAME_BAD_ARTIFACT, args...); }

class Validator {
public:
  explicit Validator(Plan &plan) : plan(plan) {}

  void run() {
    checkExprs();
    checkData();
    checkSlots();
    checkPorts();
    checkCode();
    checkBlocks();
    derive();
  }

private:
  // ---- indices
  template <typename T>
  void checkIndex(int32_t index, const std::vector<T> &vector, const char *what, bool optional = false) {
    if (optional && index == -1)
      return;
    if (index < 0 || static_cast<size_t>(index) >= vector.size())
      bad("it refers to ", what, " ", index, " of ", vector.size());
  }
  void checkExpr(int32_t index, bool optional = false) { checkIndex(index, plan.exprs, "expression", optional); }

  void checkExprs();
  void checkData();
  void checkSlots();
  void checkPorts();
  void checkCode();
  void checkBlocks();
  void derive();

  void walk(int block, int depth);
  void checkCommand(int block, const Command &command, int depth);
  void checkTensorMap(const TensorMapInfo &tensor, const LaunchCommand &launch);
  void use(int32_t slot, bool optional = false);
  void useTensor(int32_t slot, bool optional = false);
  void define(int32_t slot, const char *by, bool optional = false);
  void nested(int32_t block, int depth);

  Plan &plan;
  std::vector<int32_t> root; // of an alias chain
  std::vector<uint8_t> visited;
  struct Level {
    int block, command;
  };
  std::vector<Level> path; // from a root block to the command being checked
};

void Validator::checkExprs() {
  for (size_t i = 0; i < plan.exprs.size(); ++i) {
    const Expr &e = plan.exprs[i];
    if (e.op == ExprOp::Const)
      continue;
    if (e.op == ExprOp::Symbol) {
      checkIndex(e.a, plan.symbols, "symbol");
      continue;
    }
    for (int32_t operand : {e.a, e.b})
      if (operand < 0 || static_cast<size_t>(operand) >= i)
        bad("expression ", i, " uses expression ", operand, ", which does not precede it");
  }
}

void Validator::checkData() {
  for (size_t i = 0; i < plan.constants.size(); ++i) {
    const ConstantInfo &c = plan.constants[i];
    auto elements = countElements(c.dims);
    if (!isKnown(c.dtype) || !elements)
      bad("constant ", i, " has an impossible type ", describeTensor(c.dtype, c.dims));
    if (c.dtype == FLAME_STRING) {
      if (c.strings.size() != static_cast<size_t>(*elements))
        bad("constant ", i, ", ", describeTensor(c.dtype, c.dims), ", has ", c.strings.size(), " strings");
    } else if (countBytes(c.dtype, c.dims) != c.bytes) {
      bad("constant ", i, ", ", describeTensor(c.dtype, c.dims), ", has ", c.bytes, " bytes");
    }
  }
  for (const FileInfo &file : plan.files) {
    // A path is data from a stranger: it must stay inside the weights directory.
    bool safe = !file.path.empty() && file.path.front() != '/' && file.path.find('\0') == std::string::npos;
    for (size_t at = 0; safe && at <= file.path.size();) {
      const size_t end = std::min(file.path.find('/', at), file.path.size());
      safe = file.path.compare(at, end - at, "..") != 0;
      at = end + 1;
    }
    if (!safe)
      bad("weight file path '", file.path, "' is not a relative path inside the artifact's directory");
  }
  for (const ParamInfo &p : plan.params) {
    auto bytes = countBytes(p.dtype, p.dims);
    if (!isKnown(p.dtype) || p.dtype == FLAME_STRING || !bytes)
      bad("parameter '", p.name, "' has an impossible type ", describeTensor(p.dtype, p.dims));
    if (p.embedded != -1) {
      checkIndex(p.embedded, plan.constants, "constant");
      const ConstantInfo &c = plan.constants[p.embedded];
      if (c.dtype != p.dtype || !(c.dims == p.dims))
        bad("parameter '", p.name, "', ", describeTensor(p.dtype, p.dims), ", is embedded as ",
            describeTensor(c.dtype, c.dims));
      continue;
    }
    checkIndex(p.file, plan.files, "weight file");
    const FileInfo &file = plan.files[p.file];
    if (p.length != *bytes)
      bad("parameter '", p.name, "', ", describeTensor(p.dtype, p.dims), ", has ", p.length, " bytes");
    if (p.offset > file.size || p.length > file.size - p.offset)
      bad("parameter '", p.name, "' (bytes ", p.offset, " to ", p.offset, "+", p.length, ") exceeds its file '",
          file.path, "' of ", file.size, " bytes");
  }
}

void Validator::checkSlots() {
  auto checkStatic = [&](size_t index, const SlotInfo &slot, DType dtype, const Dims &dims) {
    if (slot.kind != FLAME_TENSOR || slot.dtype != dtype || (slot.ranked && slot.dims.size() != dims.size()))
      bad("tensor ", plan.slotName(index), " does not have the type of its data, ", describeTensor(dtype, dims));
    for (size_t i = 0; slot.ranked && i < dims.size(); ++i) {
      const Expr &e = plan.exprs[slot.dims[i]];
      if (e.op == ExprOp::Const && e.imm != dims[i])
        bad("tensor ", plan.slotName(index), " has dimension ", i, " = ", e.imm, ", its data ", dims[i]);
    }
  };
  for (size_t i = 0; i < plan.slots.size(); ++i) {
    const SlotInfo &slot = plan.slots[i];
    for (int32_t dim : slot.dims)
      checkExpr(dim);
    checkIndex(slot.block, plan.blocks, "block", /*optional=*/true);
    switch (slot.storage) {
    case Storage::Param:
      checkIndex(slot.source, plan.params, "parameter");
      checkStatic(i, slot, plan.params[slot.source].dtype, plan.params[slot.source].dims);
      break;
    case Storage::Constant:
      checkIndex(slot.source, plan.constants, "constant");
      checkStatic(i, slot, plan.constants[slot.source].dtype, plan.constants[slot.source].dims);
      break;
    case Storage::Alias:
      checkIndex(slot.source, plan.slots, "slot");
      break;
    case Storage::Arena:
      checkIndex(slot.block, plan.blocks, "block");
      if (slot.kind != FLAME_TENSOR || slot.dtype == FLAME_STRING || !isKnown(slot.dtype) || !slot.ranked)
        bad("arena slot ", plan.slotName(i), " is not a tensor of known rank and plain elements");
      if (slot.first < 0 || slot.last < slot.first ||
          static_cast<size_t>(slot.last) >= plan.blocks[slot.block].commands.size())
        bad("arena slot ", plan.slotName(i), " has the lifetime [", slot.first, ", ", slot.last, "] in a block of ",
            plan.blocks[slot.block].commands.size(), " commands");
      break;
    case Storage::Heap:
    case Storage::Input:
    case Storage::Persistent:
      break;
    }
    if (slot.kind == FLAME_TENSOR && !isKnown(slot.dtype))
      bad("tensor ", plan.slotName(i), " has no element type");
  }
  // Alias chains end somewhere: follow each, marking the way.
  root.assign(plan.slots.size(), -1);
  std::vector<int32_t> chain;
  for (size_t i = 0; i < plan.slots.size(); ++i) {
    chain.clear();
    int32_t at = i;
    while (root[at] == -1 && plan.slots[at].storage == Storage::Alias) {
      root[at] = -2;
      chain.push_back(at);
      at = plan.slots[at].source;
    }
    if (root[at] == -2)
      bad("slot ", plan.slotName(i), " is an alias of itself");
    const int32_t end = root[at] == -1 ? (root[at] = at) : root[at];
    for (int32_t link : chain)
      root[link] = end;
  }
}

void Validator::checkPorts() {
  if (plan.blocks.empty())
    bad("it has no main block");
  std::vector<uint8_t> seen(plan.slots.size());
  for (const PortInfo &port : plan.inputs) {
    checkIndex(port.slot, plan.slots, "slot");
    const SlotInfo &slot = plan.slots[port.slot];
    if (slot.storage != Storage::Input || slot.block != Plan::kMain || seen[port.slot]++)
      bad("input '", port.name, "' is not bound to an input slot of its own");
    if (port.ranked && slot.ranked && slot.kind == FLAME_TENSOR && port.dims.size() != slot.dims.size())
      bad("input '", port.name, "' has ", port.dims.size(), " dimensions in the signature and ", slot.dims.size(),
          " in the plan");
  }
  for (const PortInfo &port : plan.outputs)
    checkIndex(port.slot, plan.slots, "slot");
}

void Validator::checkCode() {
  const bool cuda = plan.device == DeviceKind::Cuda;
  for (const CodeInfo &code : plan.codes)
    if (cuda != (code.format != CodeFormat::ElfSharedObject))
      bad("its code for ", code.target, " does not fit its device, ", cuda ? "cuda" : "cpu");
  if (cuda && !plan.kernels.empty() && plan.codes.empty())
    bad("it has kernels and no code");
  std::vector<uint8_t> hasCode(plan.codes.size());
  for (const CodeInfo &code : plan.codes) {
    checkIndex(code.unit, plan.codes, "unit of kernels");
    hasCode[code.unit] = 1;
  }
  for (const KernelInfo &kernel : plan.kernels) {
    checkIndex(kernel.code, plan.codes, "code object", /*optional=*/cuda);
    if (kernel.symbol.empty() || kernel.symbol.find('\0') != std::string::npos)
      bad("a kernel has no symbol");
    if (!cuda)
      continue;
    if (kernel.code != -1)
      bad("kernel '", kernel.symbol, "' is in a code object, not in a unit");
    if (kernel.unit < 0 || size_t(kernel.unit) >= hasCode.size() || !hasCode[kernel.unit])
      bad("kernel '", kernel.symbol, "' is in unit ", kernel.unit, " of the kernels, which has no code");
    if (kernel.threads < 32 || kernel.threads > kMaxThreadsPerBlock || kernel.threads % 32)
      bad("kernel '", kernel.symbol, "' has blocks of ", kernel.threads, " threads, not a multiple of 32 in [32, ",
          kMaxThreadsPerBlock, "]");
    if (kernel.shared < 0 || kernel.shared > kMaxSharedBytes || kernel.sharedBefore90 < 0 ||
        kernel.sharedBefore90 > kMaxSharedBytes)
      bad("kernel '", kernel.symbol, "' wants ", kernel.shared, " bytes of shared memory, a block has at most ",
          kMaxSharedBytes);
    constexpr int kMaxCluster = 8; // that every GPU with clusters takes
    if (const auto &w = kernel.wgmma;
        w.threads && (w.threads < 32 || w.threads > kMaxThreadsPerBlock || w.threads % 32 || w.shared < 0 ||
                      w.shared > kMaxSharedBytes || w.cluster < 1 || w.cluster > kMaxCluster || kernel.cooperative))
      bad("kernel '", kernel.symbol, "' for sm_90a wants blocks of ", w.threads, " threads and ", w.shared,
          " bytes of shared memory in clusters of ", w.cluster, ", which no GPU gives it");
    if (kernel.leastBlocks < 1 || (kernel.leastBlocks > 1 && !kernel.cooperative))
      bad("kernel '", kernel.symbol, "' wants ", kernel.leastBlocks, " blocks at one time");
    if (kernel.state < 0 || kernel.state > kMaxStateBytes)
      bad("kernel '", kernel.symbol, "' wants ", kernel.state, " bytes of state, a session has at most ", kMaxStateBytes);
  }
}

void Validator::checkTensorMap(const TensorMapInfo &tensor, const LaunchCommand &launch) {
  checkIndex(tensor.buffer, launch.buffers, "buffer of a tensor map");
  checkExpr(tensor.offset);
  for (int32_t dim : tensor.dims)
    checkExpr(dim);
  for (int32_t stride : tensor.strides)
    checkExpr(stride);
  const size_t rank = tensor.dims.size(), positions = tensor.steps.size();
  if (rank < 2 || rank > size_t(kMaxTensorRank) || tensor.strides.size() != rank - 1 ||
      tensor.box.size() != (positions ? 2 : rank))
    bad("a tensor map has ", rank, " dims, ", tensor.strides.size(), " strides and a box of ", tensor.box.size());
  if (tensor.lower.size() != positions || tensor.upper.size() != positions || (positions && positions + 2 != rank))
    bad("a tensor map of ", rank, " dims has windows of ", positions, " dims from ", tensor.lower.size(), " to ",
        tensor.upper.size());
  for (size_t i = 0; i < positions; ++i) {
    // All dims share 16 bits of the map.
    const int32_t reach = 1 << (16 / positions - 1);
    for (int32_t corner : {tensor.lower[i], tensor.upper[i]})
      if (corner < -reach || corner >= reach)
        bad("windows of a tensor map of ", rank, " dims have a corner at ", corner);
    if (tensor.steps[i] < 1 || tensor.steps[i] > kMaxStep)
      bad("windows of a tensor map are ", tensor.steps[i], " positions apart");
  }
  for (int32_t size : tensor.box)
    if (size < 1 || size > kMaxBox)
      bad("the box of a tensor map has a dim of ", size);
  if (tensor.tf32 && tensor.dtype != FLAME_F32)
    bad("a tensor map rounds ", dtypeName(tensor.dtype), " to TF32");
  const size_t bytes = elementSize(tensor.dtype);
  if (bytes == 0 || tensor.box[0] * bytes > size_t(kSwizzledLine) || tensor.box[0] * bytes % 16)
    bad("a line of a tensor map's box has ", tensor.box[0], " elements of ", dtypeName(tensor.dtype));
}

void Validator::use(int32_t slot, bool optional) {
  if (optional && slot == -1)
    return;
  checkIndex(slot, plan.slots, "slot");
  const SlotInfo &info = plan.slots[slot];
  const bool global = info.storage == Storage::Param || info.storage == Storage::Constant ||
                      info.storage == Storage::Persistent || info.block == -1;
  if (!global && std::none_of(path.begin(), path.end(), [&](Level l) { return l.block == info.block; }))
    bad("slot ", plan.slotName(slot), " of block ", info.block, " is used in block ", path.back().block);
  const SlotInfo &owner = plan.slots[root[slot]];
  if (owner.storage != Storage::Arena)
    return;
  auto level = std::find_if(path.begin(), path.end(), [&](Level l) { return l.block == owner.block; });
  if (level == path.end())
    bad("slot ", plan.slotName(slot), " shares arena memory of block ", owner.block, ", which is not active");
  if (level->command < owner.first || level->command > owner.last)
    bad("arena slot ", plan.slotName(root[slot]), " lives in commands [", owner.first, ", ", owner.last,
        "] and is used by command ", level->command, " of block ", owner.block);
}

void Validator::useTensor(int32_t slot, bool optional) {
  use(slot, optional);
  if (slot != -1 && plan.slots[slot].kind != FLAME_TENSOR)
    bad("slot ", plan.slotName(slot), " is not a tensor");
}

/// A slot that a command gives a new value to.
void Validator::define(int32_t slot, const char *by, bool optional) {
  use(slot, optional);
  if (slot == -1)
    return;
  const Storage storage = plan.slots[slot].storage;
  if (storage != Storage::Heap && storage != Storage::Persistent)
    bad("slot ", plan.slotName(slot), " is set by ", by, " and is neither on the heap nor persistent");
}

void Validator::nested(int32_t block, int depth) {
  checkIndex(block, plan.blocks, "block");
  if (visited[block]++)
    bad("block ", block, " is used by more than one command, or by itself");
  walk(block, depth + 1);
}

void Validator::checkCommand(int block, const Command &command, int depth) {
  for (int32_t node : command.nodes)
    checkIndex(node, plan.nodeNames, "node name");
  if (auto *c = std::get_if<AllocCommand>(&command.body)) {
    define(c->slot, "an allocation");
    if (plan.slots[c->slot].kind != FLAME_TENSOR || !plan.slots[c->slot].ranked)
      bad("slot ", plan.slotName(c->slot), " is allocated and is not a tensor of known rank");
  } else if (auto *c = std::get_if<FreeCommand>(&command.body)) {
    use(c->slot);
    const Storage storage = plan.slots[c->slot].storage;
    if (storage != Storage::Heap && storage != Storage::Alias && storage != Storage::Input)
      bad("slot ", plan.slotName(c->slot), " is freed and is not on the heap");
  } else if (auto *c = std::get_if<LaunchCommand>(&command.body)) {
    checkIndex(c->kernel, plan.kernels, "kernel");
    for (int32_t slot : c->buffers) {
      useTensor(slot);
      if (plan.slots[slot].dtype == FLAME_STRING)
        bad("a kernel gets the string tensor ", plan.slotName(slot));
    }
    for (int32_t arg : c->args)
      checkExpr(arg);
    checkExpr(c->extent);
    checkExpr(c->grain, /*optional=*/true);
    if (plan.device == DeviceKind::Cuda && c->grain != -1)
      bad("a launch on a GPU has a grain");
    checkExpr(c->scratch, /*optional=*/true);
    checkExpr(c->flops, /*optional=*/true);
    if (c->inPlace.size() % 2)
      bad("a launch has an odd number of buffers that share memory");
    for (int32_t position : c->inPlace)
      checkIndex(position, c->buffers, "buffer");
    const bool wgmma = plan.device == DeviceKind::Cuda && plan.kernels[c->kernel].wgmma.threads != 0;
    checkExpr(c->extentWgmma, /*optional=*/!wgmma);
    if (!wgmma && !c->tensors.empty())
      bad("a launch has tensor maps and its kernel '", plan.kernels[c->kernel].symbol, "' takes none");
    for (const TensorMapInfo &tensor : c->tensors)
      checkTensorMap(tensor, *c);
  } else if (auto *c = std::get_if<HostCallCommand>(&command.body)) {
    for (int32_t slot : c->inputs)
      use(slot, /*optional=*/true);
    for (int32_t slot : c->outputs)
      define(slot, "a host function", /*optional=*/true);
  } else if (auto *c = std::get_if<BindDimsCommand>(&command.body)) {
    useTensor(c->slot);
    for (int32_t symbol : c->symbols)
      checkIndex(symbol, plan.symbols, "symbol", /*optional=*/true);
  } else if (auto *c = std::get_if<ReadElementCommand>(&command.body)) {
    useTensor(c->slot);
    checkIndex(c->symbol, plan.symbols, "symbol");
    const DType dtype = plan.slots[c->slot].dtype;
    if (c->index < 0 || !(isInteger(dtype) || dtype == FLAME_BOOL))
      bad("an element of ", plan.slotName(c->slot), " is read as an integer and is ", dtypeName(dtype));
  } else if (auto *c = std::get_if<AliasCommand>(&command.body)) {
    use(c->src);
    use(c->dst);
    const SlotInfo &src = plan.slots[c->src], &dst = plan.slots[c->dst];
    if (dst.storage == Storage::Alias ? dst.source != c->src
                                      : dst.storage != Storage::Heap && dst.storage != Storage::Persistent)
      bad("slot ", plan.slotName(c->dst), " is made an alias of ", plan.slotName(c->src), " and is not declared so");
    if (src.kind != dst.kind || (src.dtype == FLAME_STRING) != (dst.dtype == FLAME_STRING))
      bad("slot ", plan.slotName(c->dst), " is an alias of ", plan.slotName(c->src), ", of another kind");
  } else if (auto *c = std::get_if<CopyCommand>(&command.body)) {
    use(c->src);
    use(c->dst);
    const SlotInfo &src = plan.slots[c->src], &dst = plan.slots[c->dst];
    if (dst.storage == Storage::Param || dst.storage == Storage::Constant || dst.storage == Storage::Input)
      bad("slot ", plan.slotName(c->dst), " is read-only and is copied to");
    if (src.kind != dst.kind || src.dtype != dst.dtype)
      bad("slot ", plan.slotName(c->src), " is copied to ", plan.slotName(c->dst), ", of another type");
  } else if (auto *c = std::get_if<IfCommand>(&command.body)) {
    useTensor(c->condition);
    for (int32_t slot : c->results)
      define(slot, "a branch");
    for (int32_t inner : {c->thenBlock, c->elseBlock}) {
      nested(inner, depth);
      if (plan.blocks[inner].results.size() != c->results.size() || !plan.blocks[inner].args.empty())
        bad("block ", inner, " does not fit the branch that uses it");
    }
  } else if (auto *c = std::get_if<LoopCommand>(&command.body)) {
    useTensor(c->trip, /*optional=*/true);
    checkExpr(c->count, /*optional=*/true);
    if (c->trip != -1 && c->count != -1)
      bad("a loop has two trip counts");
    useTensor(c->condition, /*optional=*/true);
    for (int32_t slot : c->carried)
      use(slot);
    for (int32_t slot : c->results)
      define(slot, "a loop");
    for (int32_t slot : c->scans) {
      define(slot, "a loop");
      if (plan.slots[slot].kind != FLAME_TENSOR)
        bad("scan output ", plan.slotName(slot), " is not a tensor");
    }
    nested(c->body, depth);
    const BlockInfo &body = plan.blocks[c->body];
    if (c->carried.size() != c->results.size() || body.args.size() != c->carried.size() + 2 ||
        body.results.size() != 1 + c->results.size() + c->scans.size())
      bad("block ", c->body, " does not fit the loop that uses it");
    const SlotInfo &index = plan.slots[body.args[0]], &condition = plan.slots[body.args[1]];
    if (index.kind != FLAME_TENSOR || index.dtype != FLAME_I64 || condition.kind != FLAME_TENSOR ||
        condition.dtype != FLAME_BOOL)
      bad("the first arguments of loop body ", c->body, " are not an i64 and a bool");
  } else if (auto *c = std::get_if<CheckCommand>(&command.body)) {
    checkExpr(c->a);
    checkExpr(c->b);
  }
  (void)block;
}

void Validator::walk(int block, int depth) {
  if (depth > kMaxNesting)
    bad("its blocks are nested deeper than ", kMaxNesting, " levels");
  const BlockInfo &info = plan.blocks[block];
  path.push_back({block, 0});
  for (int32_t slot : info.args) {
    checkIndex(slot, plan.slots, "slot");
    if (plan.slots[slot].storage != Storage::Input || plan.slots[slot].block != block)
      bad("argument ", plan.slotName(slot), " of block ", block, " is not an input slot of this block");
  }
  for (size_t i = 0; i < info.commands.size(); ++i) {
    path.back().command = i;
    checkCommand(block, info.commands[i], depth);
  }
  if (!info.commands.empty())
    path.back().command = info.commands.size() - 1;
  for (int32_t slot : info.results)
    use(slot);
  if (block == Plan::kMain)
    for (const PortInfo &port : plan.outputs)
      use(port.slot);
  path.pop_back();
}

void Validator::checkBlocks() {
  visited.assign(plan.blocks.size(), 0);
  visited[Plan::kMain] = 1;
  if (plan.hasInit())
    visited[Plan::kInit] = 1;
  if (plan.hasInit())
    walk(Plan::kInit, 0);
  walk(Plan::kMain, 0);
  // What is never reached was not checked, and parts of the runtime go over every block.
  for (size_t block = 0; block < visited.size(); ++block)
    if (!visited[block])
      bad("block ", block, " is used by no command");
}

void Validator::derive() {
  for (size_t i = 0; i < plan.slots.size(); ++i) {
    const SlotInfo &slot = plan.slots[i];
    if (slot.block == -1)
      continue;
    BlockInfo &block = plan.blocks[slot.block];
    if (slot.storage == Storage::Arena) {
      block.arenaSlots.push_back(i);
      block.placeAt = block.placeAt == -1 ? slot.first : std::min(block.placeAt, slot.first);
    } else if (slot.storage == Storage::Heap || slot.storage == Storage::Alias || slot.storage == Storage::Input) {
      block.releaseSlots.push_back(i);
    }
  }
  for (BlockInfo &block : plan.blocks) {
    block.firstCommand = plan.commandCount;
    plan.commandCount += block.commands.size();
  }
  for (auto *ports : {&plan.inputs, &plan.outputs})
    for (PortInfo &port : *ports)
      for (const std::string &dim : port.dims)
        port.dimPointers.push_back(dim.c_str());
  findKernelChecks(plan);
  // The arena may be laid out before what does not touch it and defines no symbol: one section holds both.
  auto mayComeLater = [](const Command &command) {
    auto *call = std::get_if<HostCallCommand>(&command.body);
    return std::holds_alternative<AllocCommand>(command.body) || (call && call->kernelCheck);
  };
  for (BlockInfo &block : plan.blocks)
    while (block.placeAt > 0 && mayComeLater(block.commands[block.placeAt - 1]))
      --block.placeAt;
}

} // namespace

void validatePlan(Plan &plan) { Validator(plan).run(); }

} // namespace flame::rt
