//===- Plan.h - a decoded, validated plan ---------------------------------===//
//
// The runtime never interprets FlatBuffers directly: PlanReader decodes an artifact into these structs, PlanValidator
// checks every index, and the executor relies on what it promises (see validatePlan). Constants and code point into
// the artifact's memory, which must outlive the Plan.
//
//===----------------------------------------------------------------------===//
#ifndef FLAME_RUNTIME_PLAN_H
#define FLAME_RUNTIME_PLAN_H

#include "Value.h"

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

namespace flame::rt {

enum class ExprOp : uint8_t { Const, Symbol, Add, Mul, FloorDiv, Mod, Min, Max };

struct Expr {
  ExprOp op;
  int32_t a, b;
  int64_t imm;
};

enum class Storage : uint8_t { Arena, Heap, Alias, Input, Param, Constant, Persistent };

struct SlotInfo {
  std::string name;
  flame_kind kind;
  DType dtype;
  Storage storage;
  bool ranked;               // false: the rank is known only at run time
  std::vector<int32_t> dims; // expressions
  int32_t source, first, last, block;
};

struct ConstantInfo {
  DType dtype;
  Dims dims;
  const uint8_t *data;
  size_t bytes;
  std::vector<std::string> strings;
};

struct ParamInfo {
  std::string name;
  DType dtype;
  Dims dims;
  int32_t file;
  uint64_t offset, length;
  int32_t embedded;
};

struct FileInfo {
  std::string path;
  uint64_t size;
};

struct AllocCommand {
  int32_t slot;
};
struct FreeCommand {
  int32_t slot;
};
/// Expressions, but for the box, windows and `buffer`, a position in the launch's buffers.
struct TensorMapInfo {
  int32_t buffer;
  DType dtype;
  int32_t offset;
  std::vector<int32_t> dims, strides, box;
  bool tf32;
  std::vector<int32_t> lower, upper, steps; // of windows, numbers; otherwise empty
};
struct LaunchCommand {
  int32_t kernel;
  std::vector<int32_t> buffers, args;
  int32_t extent, grain, scratch, flops;
  std::vector<int32_t> inPlace; // pairs of positions in `buffers`
  std::vector<TensorMapInfo> tensors; // Cuda, with extentWgmma
  int32_t extentWgmma;
};
struct Attribute {
  std::string name;
  std::vector<int64_t> ints;
  std::vector<double> floats;
  std::vector<std::string> strings;
};
class HostContext;
using HostFunction = void (*)(HostContext &);
struct HostCallCommand {
  std::string function;
  HostFunction entry; // resolved by the reader
  std::vector<int32_t> inputs, outputs;
  std::vector<Attribute> attributes;
  // Derived: a check between what kernels use. The queue may do it where the tensors are; the result is its input.
  bool kernelCheck = false;

  /// check_indices or check_ends, of tensors of integers by what they must keep to: the result is the first input, or an error.
  bool isCheck() const {
    return (function == "check_indices" || function == "check_ends") && inputs.size() == 2 && outputs.size() == 1 && inputs[0] != -1;
  }
};
struct BindDimsCommand {
  int32_t slot;
  std::vector<int32_t> symbols;
};
struct ReadElementCommand {
  int32_t slot;
  int64_t index;
  int32_t symbol;
};
struct AliasCommand {
  int32_t src, dst;
};
struct CopyCommand {
  int32_t src, dst;
};
struct IfCommand {
  int32_t condition, thenBlock, elseBlock;
  std::vector<int32_t> results;
};
struct LoopCommand {
  int32_t trip, condition, body;
  std::vector<int32_t> carried, results, scans;
  int32_t count; // expression
};
enum class Relation : uint8_t { Equal, LessEqual, EqualOrOne };
struct CheckCommand {
  Relation relation;
  int32_t a, b;
  std::string message;
};

struct Command {
  std::variant<AllocCommand, FreeCommand, LaunchCommand, HostCallCommand, BindDimsCommand, ReadElementCommand,
               AliasCommand, CopyCommand, IfCommand, LoopCommand, CheckCommand>
      body;
  std::vector<int32_t> nodes;
};

struct BlockInfo {
  std::string name;
  std::vector<int32_t> args, results;
  std::vector<Command> commands;
  // Derived by the validator:
  std::vector<int32_t> arenaSlots;   // Arena slots of this block
  int32_t placeAt = -1;              // command before which the arena is laid out, at the latest the first that touches it
  std::vector<int32_t> releaseSlots; // Heap, Alias and Input slots of this block: dropped when the block has ended
  int32_t firstCommand = 0;          // number of this block's first command in the whole plan (for profiles)
};

struct KernelInfo {
  std::string symbol, description;
  int32_t code;            // Cuda: -1, see unit
  int32_t threads, shared; // Cuda: threads of a block, bytes of dynamic shared memory
  int32_t unit;            // Cuda: the codes of this unit define it
  int32_t state;           // Cuda: bytes of the session's state that it uses
  bool cooperative;        // Cuda: its blocks wait for each other
  int32_t sharedBefore90;  // Cuda: of code for architectures before sm_90
  bool waits;              // Cuda: its code for sm_90 and newer waits for the kernels before it
  struct {
    int32_t threads, shared, cluster;
  } wgmma; // Cuda: what code for exactly sm_90a is launched with; 0 threads: as the others
  int32_t leastBlocks; // Cuda: of a cooperative kernel, that the device must hold at one time
};

inline constexpr int kMaxThreadsPerBlock = 1024;
inline constexpr int kMaxSharedBytes = 227 * 1024;
inline constexpr int kMaxTensorRank = 5, kMaxBox = 256, kMaxStep = 8, kSwizzledLine = 128; // of tensor maps; bytes of a box's line
inline constexpr int kMaxStateBytes = 1 << 20;
inline constexpr int64_t kMaxGridBlocks = INT32_MAX;

enum class DeviceKind : uint8_t { Cpu, Cuda };

/// Of tensors in an arena.
constexpr uint64_t kernelAlignment(DeviceKind device) { return device == DeviceKind::Cuda ? 256 : kAlignment; }

enum class CodeFormat : uint8_t { ElfSharedObject, Cubin, Ptx };

struct CodeInfo {
  CodeFormat format;
  std::string target;
  std::vector<std::string> features;
  const uint8_t *data;
  size_t bytes;
  uint64_t size, checksum;
  int32_t unit = 0; // Cuda: which of the kernels it defines
};

struct PortInfo {
  std::string name, type;
  int32_t slot;
  bool ranked;
  std::vector<std::string> dims;
  std::vector<const char *> dimPointers; // for the C interface
};

struct Plan {
  std::string name, producer;
  std::vector<std::pair<std::string, std::string>> properties;
  std::vector<PortInfo> inputs, outputs;
  std::vector<std::string> symbols;
  std::vector<Expr> exprs;
  std::vector<SlotInfo> slots;
  std::vector<ConstantInfo> constants;
  std::vector<ParamInfo> params;
  std::vector<FileInfo> files;
  std::vector<BlockInfo> blocks;
  std::vector<KernelInfo> kernels;
  std::vector<CodeInfo> codes;
  std::vector<std::string> nodeNames;
  DeviceKind device = DeviceKind::Cpu;
  int32_t commandCount = 0;

  static constexpr int kMain = 0, kInit = 1;
  bool hasInit() const { return blocks.size() > 1; }
  /// "node 'conv1'", "nodes 'conv1', 'relu1' and 3 more"; empty where the command names none.
  std::string nodesOf(const Command &command) const;
  /// "'x'" or "slot 12".
  std::string slotName(int32_t slot) const;
};

/// Decodes and validates the artifact in `data`, 64-byte aligned. `origin` names the file in messages. `sealed`: the
/// bytes end in a seal that must hold. Throws Error(FLAME_BAD_ARTIFACT or FLAME_UNSUPPORTED).
Plan readPlan(const uint8_t *data, size_t bytes, const std::string &origin, bool sealed = true);

/// Checks all that the executor relies on: indices in range, expressions in topological order, sizes of constants and
/// parameters, blocks forming a tree, slots visible where they are used, arena slots used within their lifetimes; and
/// fills the derived fields of the blocks. Throws Error(FLAME_BAD_ARTIFACT) without a prefix.
void validatePlan(Plan &plan);

} // namespace flame::rt

#endif
