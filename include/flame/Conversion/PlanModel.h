//===- PlanModel.h - the plan while it is being built -----------------------------------------------------------------===//
//
// Plain structs that mirror runtime/schema/plan.fbs, and the writer that turns them into the bytes of an artifact.
//
//===------------------------------------------------------------------------------------------------------------------===//
#ifndef FLAME_CONVERSION_PLANMODEL_H
#define FLAME_CONVERSION_PLANMODEL_H

#include <cstdint>
#include <string>
#include <tuple>
#include <variant>
#include <vector>

namespace flame::model {

enum class ExprOp : uint8_t { Const, Symbol, Add, Mul, FloorDiv, Mod, Min, Max };
struct Expr {
  ExprOp op;
  int32_t a = -1, b = -1;
  int64_t imm = 0;
  bool operator<(const Expr &o) const { return std::tie(op, a, b, imm) < std::tie(o.op, o.a, o.b, o.imm); }
};

enum class ValueKind : uint8_t { Tensor, Sequence, Optional };
enum class Storage : uint8_t { Arena, Heap, Alias, Input, Param, Constant, Persistent };
struct Slot {
  std::string name;
  ValueKind kind = ValueKind::Tensor;
  int dtype = 0;
  bool hasDims = false;
  std::vector<int32_t> dims;
  Storage storage = Storage::Arena;
  int32_t source = -1, first = -1, last = -1, block = -1;
};

struct Constant {
  int dtype;
  std::vector<int64_t> dims;
  std::vector<uint8_t> data;
  std::vector<std::string> strings;
};
struct Param {
  std::string name;
  int dtype;
  std::vector<int64_t> dims;
  int32_t file = -1;
  uint64_t offset = 0, length = 0;
  int32_t embedded = -1;
};
struct WeightFile {
  std::string path;
  uint64_t size;
};

struct Attribute {
  std::string name;
  std::vector<int64_t> ints;
  std::vector<double> floats;
  std::vector<std::string> strings;
};

struct Alloc { int32_t slot; };
struct Free { int32_t slot; };
struct TensorMap { int32_t buffer; uint8_t dtype; int32_t offset; std::vector<int32_t> dims, strides, box; bool tf32; std::vector<int32_t> lower, upper, steps; };
struct Launch {
  int32_t kernel;
  std::vector<int32_t> buffers, args;
  int32_t extent, grain, scratch = -1, flops = -1;
  std::vector<int32_t> inPlace; // pairs of positions in `buffers`
  std::vector<TensorMap> tensors; ///< Cuda: with extentWgmma.
  int32_t extentWgmma = -1;
};
struct HostCall {
  std::string function;
  std::vector<int32_t> inputs, outputs;
  std::vector<Attribute> attributes;
};
struct BindDims { int32_t slot; std::vector<int32_t> symbols; };
struct ReadElement { int32_t slot; int64_t index; int32_t symbol; };
struct Alias { int32_t src, dst; };
struct Copy { int32_t src, dst; };
struct If { int32_t condition, thenBlock, elseBlock; std::vector<int32_t> results; };
struct Loop {
  int32_t trip = -1, condition = -1, body;
  std::vector<int32_t> carried, results, scans;
  int32_t count = -1;
};
struct Check { uint8_t relation; int32_t a, b; std::string message; };

struct Command {
  std::variant<Alloc, Free, Launch, HostCall, BindDims, ReadElement, Alias, Copy, If, Loop, Check> body;
  std::vector<int32_t> nodes;
};
struct Block {
  std::string name;
  std::vector<int32_t> args, results;
  std::vector<Command> commands;
};

struct Kernel {
  std::string symbol, description;
  int32_t threads = 0, shared = 0; ///< Cuda: threads of a block, bytes of dynamic shared memory.
  int32_t unit = 0;                ///< Cuda: the unit that defines it.
  int32_t state = 0;               ///< Cuda: bytes of the session's state that it uses.
  bool cooperative = false;        ///< Cuda: its blocks wait for each other.
  int32_t sharedBefore90 = -1;     ///< Cuda: `shared` of code for architectures before sm_90; -1: the same.
  bool waits = false;              ///< Cuda: it waits by itself for the kernels before it.
  /// Cuda: what code for sm_90a is launched with; 0 threads: as the others.
  int32_t wgmmaThreads = 0, wgmmaShared = 0, wgmmaCluster = 1;
  int32_t leastBlocks = 1; ///< Cuda: that a cooperative kernel must have at one time.
};
enum class CodeFormat : uint8_t { ElfSharedObject, Cubin, Ptx };
struct Code {
  CodeFormat format = CodeFormat::ElfSharedObject;
  std::string target; ///< "x86_64", "sm_90a", "compute_80" …
  std::vector<std::string> features;
  std::vector<char> data; ///< Not compressed.
  int32_t unit = 0;       ///< Cuda: which part of the kernels it has.
};
enum class Device : uint8_t { Cpu, Cuda };
struct Port {
  std::string name;
  int32_t slot;
  std::vector<std::string> dims;
  std::string type;
};

struct Plan {
  std::string name, producer;
  std::vector<std::pair<std::string, std::string>> properties;
  std::vector<Port> inputs, outputs;
  std::vector<std::string> symbols;
  std::vector<Expr> exprs;
  std::vector<Slot> slots;
  std::vector<Constant> constants;
  std::vector<Param> params;
  std::vector<WeightFile> files;
  std::vector<Block> blocks;
  Device device = Device::Cpu;
  std::vector<Kernel> kernels;
  /// Cpu: one shared object, or none where there are no kernels. Cuda: for each architecture, one for each unit.
  std::vector<Code> codes;
  std::vector<std::string> nodeNames;
};

/// The bytes of `model.flame`. Deterministic.
std::vector<uint8_t> writePlan(const Plan &plan);
/// The plan as text for people (`flamec compile --emit=plan`).
std::string printPlan(const Plan &plan);

} // namespace flame::model

#endif // FLAME_CONVERSION_PLANMODEL_H
