//===- PlanPrinter.cpp - a plan as text -------------------------------------------------------------------------------===//
//
// For people (`flamec compile --emit=plan`) and for tests. Shapes are written with the names of their symbols.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "flame/Conversion/PlanModel.h"
#include "llvm/Support/raw_ostream.h"

using namespace flame::model;

namespace {

const char *storageNames[] = {"arena", "heap", "alias", "input", "param", "constant", "persistent"};

struct Printer {
  const Plan &plan;
  llvm::raw_ostream &os;

  std::string expr(int32_t id) {
    const Expr &e = plan.exprs[id];
    auto binary = [&](const char *op) { return "(" + expr(e.a) + " " + op + " " + expr(e.b) + ")"; };
    switch (e.op) {
    case ExprOp::Const:
      return std::to_string(e.imm);
    case ExprOp::Symbol:
      return plan.symbols[e.a];
    case ExprOp::Add:
      return binary("+");
    case ExprOp::Mul:
      return binary("*");
    case ExprOp::FloorDiv:
      return binary("floordiv");
    case ExprOp::Mod:
      return binary("mod");
    case ExprOp::Min:
      return "min(" + expr(e.a) + ", " + expr(e.b) + ")";
    case ExprOp::Max:
      return "max(" + expr(e.a) + ", " + expr(e.b) + ")";
    }
    return "";
  }

  std::string list(const std::vector<int32_t> &slots, const char *prefix = "%") {
    std::string text;
    for (size_t i = 0; i < slots.size(); ++i)
      text += (i ? ", " : "") + (slots[i] == -1 ? std::string("none") : prefix + std::to_string(slots[i]));
    return text;
  }

  void slot(size_t id) {
    const Slot &s = plan.slots[id];
    os << "  %" << id << " " << storageNames[int(s.storage)] << " ";
    if (s.kind != ValueKind::Tensor)
      os << (s.kind == ValueKind::Sequence ? "sequence " : "optional ");
    os << "dtype " << s.dtype;
    if (s.hasDims) {
      os << " [";
      for (size_t i = 0; i < s.dims.size(); ++i)
        os << (i ? ", " : "") << expr(s.dims[i]);
      os << "]";
    }
    if (s.first != -1)
      os << " live " << s.first << ".." << s.last;
    if (s.storage == Storage::Alias)
      os << " of %" << s.source;
    if (!s.name.empty())
      os << " \"" << s.name << "\"";
    os << "\n";
  }

  void operator()(const Alloc &c) { os << "alloc %" << c.slot; }
  void operator()(const Free &c) { os << "free %" << c.slot; }
  void operator()(const Launch &c) {
    os << "launch @" << plan.kernels[c.kernel].symbol << "(" << list(c.buffers) << ") args(";
    for (size_t i = 0; i < c.args.size(); ++i)
      os << (i ? ", " : "") << expr(c.args[i]);
    const Kernel &kernel = plan.kernels[c.kernel];
    if (plan.device == Device::Cpu) {
      os << ") extent " << expr(c.extent) << " grain " << expr(c.grain);
    } else {
      os << ") blocks " << expr(c.extent) << " threads " << kernel.threads;
      if (kernel.shared)
        os << " shared " << kernel.shared;
      if (kernel.state)
        os << " state " << kernel.state;
      if (kernel.cooperative)
        os << " cooperative";
      if (kernel.leastBlocks > 1)
        os << " least " << kernel.leastBlocks;
      if (kernel.waits)
        os << " waits";
    }
    if (c.scratch != -1)
      os << " scratch " << expr(c.scratch);
    for (size_t i = 0; i + 1 < c.inPlace.size(); i += 2)
      os << " %" << c.buffers[c.inPlace[i + 1]] << " in place of %" << c.buffers[c.inPlace[i]];
    os << " // " << kernel.description;
  }
  void operator()(const HostCall &c) {
    os << "call " << c.function << "(" << list(c.inputs) << ") -> (" << list(c.outputs) << ")";
  }
  void operator()(const BindDims &c) {
    os << "bind_dims %" << c.slot << " [";
    for (size_t i = 0; i < c.symbols.size(); ++i)
      os << (i ? ", " : "") << (c.symbols[i] == -1 ? "_" : plan.symbols[c.symbols[i]]);
    os << "]";
  }
  void operator()(const ReadElement &c) {
    os << plan.symbols[c.symbol] << " = read %" << c.slot << "[" << c.index << "]";
  }
  void operator()(const Alias &c) { os << "alias %" << c.dst << " = %" << c.src; }
  void operator()(const Copy &c) { os << "copy %" << c.dst << " = %" << c.src; }
  void operator()(const If &c) {
    os << "if %" << c.condition << " block " << c.thenBlock << " else block " << c.elseBlock << " -> ("
       << list(c.results) << ")";
  }
  void operator()(const Loop &c) {
    os << "loop trip " << (c.count == -1 ? list({c.trip}) : expr(c.count)) << " condition " << list({c.condition}) << " body block " << c.body
       << " carried (" << list(c.carried) << ") -> (" << list(c.results) << ") scans (" << list(c.scans) << ")";
  }
  void operator()(const Check &c) {
    const char *relations[] = {"==", "<=", "== or 1"};
    os << "check " << expr(c.a) << " " << relations[c.relation] << " " << expr(c.b) << " // " << c.message;
  }
};

} // namespace

std::string flame::model::printPlan(const Plan &plan) {
  std::string text;
  llvm::raw_string_ostream os(text);
  Printer print{plan, os};
  os << "plan \"" << plan.name << "\"" << (plan.device == Device::Cuda ? " cuda" : "") << "\nslots\n";
  for (size_t i = 0; i < plan.slots.size(); ++i)
    print.slot(i);
  for (size_t b = 0; b < plan.blocks.size(); ++b) {
    const Block &block = plan.blocks[b];
    os << "block " << b << " " << block.name << "(" << print.list(block.args) << ") -> (" << print.list(block.results)
       << ")\n";
    for (size_t i = 0; i < block.commands.size(); ++i) {
      os << "  " << i << ": ";
      std::visit(print, block.commands[i].body);
      if (!block.commands[i].nodes.empty()) {
        os << "  {";
        for (size_t n = 0; n < block.commands[i].nodes.size(); ++n)
          os << (n ? ", " : "") << plan.nodeNames[block.commands[i].nodes[n]];
        os << "}";
      }
      os << "\n";
    }
  }
  return text;
}
