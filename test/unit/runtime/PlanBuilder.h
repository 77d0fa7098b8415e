//===- PlanBuilder.h - artifacts made by hand -----------------------------===//
//
// A thin layer over FlatBuffers' object interface that keeps the tests readable. Kernels come from Kernels.c.
//
//===----------------------------------------------------------------------===//
#ifndef FLAME_TEST_UNIT_RUNTIME_PLANBUILDER_H
#define FLAME_TEST_UNIT_RUNTIME_PLANBUILDER_H

#include "PlanFormat.h"
#include "TestFiles.h"
#include "plan_generated.h"

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>
#include <zstd.h>

namespace flame::test {

using plan::DType;
using plan::Storage;
using plan::ValueKind;

class PlanBuilder {
public:
  plan::ArtifactT root;

  PlanBuilder() {
    root.version = plan::kPlanVersion;
    root.name = "test";
    root.producer = "PlanBuilder";
    addBlock("main");
  }

  // ---- shape program
  int expr(plan::ExprOp op, int a, int b, int64_t imm = 0) {
    root.exprs.push_back(plan::Expr(op, a, b, imm));
    return root.exprs.size() - 1;
  }
  int constant(int64_t value) { return expr(plan::ExprOp::Const, 0, 0, value); }
  int symbol(const std::string &name) {
    auto info = std::make_unique<plan::SymbolInfoT>();
    info->name = name;
    root.symbols.push_back(std::move(info));
    return root.symbols.size() - 1;
  }
  int symbolExpr(int symbol) { return expr(plan::ExprOp::Symbol, symbol, 0); }
  int mul(int a, int b) { return expr(plan::ExprOp::Mul, a, b); }
  int add(int a, int b) { return expr(plan::ExprOp::Add, a, b); }

  // ---- slots
  int slot(const std::string &name, Storage storage, DType dtype, std::vector<int32_t> dims, int block = 0,
           int first = -1, int last = -1, int source = -1) {
    flatbuffers::Offset<plan::Slot> unused;
    (void)unused;
    auto s = std::make_unique<plan::SlotT>();
    s->name = name;
    s->storage = storage;
    s->dtype = dtype;
    s->dims = std::move(dims);
    s->block = block;
    s->first = first;
    s->last = last;
    s->source = source;
    root.slots.push_back(std::move(s));
    return root.slots.size() - 1;
  }
  int arena(const std::string &name, DType dtype, std::vector<int32_t> dims, int first, int last, int block = 0) {
    return slot(name, Storage::Arena, dtype, std::move(dims), block, first, last);
  }
  int heap(const std::string &name, DType dtype, std::vector<int32_t> dims, int block = 0) {
    return slot(name, Storage::Heap, dtype, std::move(dims), block);
  }
  int argument(const std::string &name, DType dtype, std::vector<int32_t> dims, int block) {
    const int s = slot(name, Storage::Input, dtype, std::move(dims), block);
    root.blocks[block]->args.push_back(s);
    return s;
  }
  int input(const std::string &name, DType dtype, std::vector<int32_t> dims, std::vector<std::string> names) {
    const int s = argument(name, dtype, std::move(dims), 0);
    root.inputs.push_back(port(name, s, std::move(names)));
    return s;
  }
  void output(const std::string &name, int slot, std::vector<std::string> names) {
    root.outputs.push_back(port(name, slot, std::move(names)));
    root.blocks[0]->results.push_back(slot);
  }
  static std::unique_ptr<plan::PortT> port(const std::string &name, int slot, std::vector<std::string> dims) {
    auto p = std::make_unique<plan::PortT>();
    p->name = name;
    p->slot = slot;
    p->dims = std::move(dims);
    return p;
  }
  template <typename T>
  int data(const std::string &name, DType dtype, std::vector<int64_t> dims, std::vector<T> values) {
    auto c = std::make_unique<plan::ConstantT>();
    c->dtype = dtype;
    c->dims = dims;
    c->data.resize(values.size() * sizeof(T));
    std::memcpy(c->data.data(), values.data(), c->data.size());
    root.constants.push_back(std::move(c));
    std::vector<int32_t> exprs;
    for (int64_t d : dims)
      exprs.push_back(constant(d));
    return slot(name, Storage::Constant, dtype, exprs, -1, -1, -1, root.constants.size() - 1);
  }
  int strings(const std::string &name, std::vector<int64_t> dims, std::vector<std::string> values) {
    auto c = std::make_unique<plan::ConstantT>();
    c->dtype = DType::String;
    c->dims = dims;
    c->strings = std::move(values);
    root.constants.push_back(std::move(c));
    std::vector<int32_t> exprs;
    for (int64_t d : dims)
      exprs.push_back(constant(d));
    return slot(name, Storage::Constant, DType::String, exprs, -1, -1, -1, root.constants.size() - 1);
  }

  // ---- blocks and commands
  int addBlock(const std::string &name) {
    auto b = std::make_unique<plan::BlockT>();
    b->name = name;
    root.blocks.push_back(std::move(b));
    return root.blocks.size() - 1;
  }
  int node(const std::string &name) {
    root.node_names.push_back(name);
    return root.node_names.size() - 1;
  }
  template <typename T> T &command(T body, const std::string &nodeName = "", int block = 0) {
    auto c = std::make_unique<plan::CommandT>();
    c->body.Set(std::move(body));
    if (!nodeName.empty())
      c->nodes.push_back(node(nodeName));
    root.blocks[block]->commands.push_back(std::move(c));
    return *static_cast<T *>(root.blocks[block]->commands.back()->body.value);
  }
  void bind(int slot, std::vector<int32_t> symbols, int block = 0) {
    plan::BindDimsT c;
    c.slot = slot;
    c.symbols = std::move(symbols);
    command(std::move(c), "", block);
  }
  void alloc(int slot, int block = 0) {
    plan::AllocT c;
    c.slot = slot;
    command(std::move(c), "", block);
  }
  void free(int slot, int block = 0) {
    plan::FreeT c;
    c.slot = slot;
    command(std::move(c), "", block);
  }
  void launch(const std::string &kernel, std::vector<int32_t> buffers, std::vector<int32_t> args, int extent,
              const std::string &nodeName = "", int block = 0, int grain = -1, int scratch = -1) {
    plan::LaunchT c;
    c.kernel = kernelIndex(kernel);
    c.buffers = std::move(buffers);
    c.args = std::move(args);
    c.extent = extent;
    c.grain = grain;
    c.scratch = scratch;
    command(std::move(c), nodeName, block);
  }
  plan::HostCallT &host(const std::string &function, std::vector<int32_t> inputs, std::vector<int32_t> outputs,
                        const std::string &nodeName = "", int block = 0) {
    plan::HostCallT c;
    c.function = function;
    c.inputs = std::move(inputs);
    c.outputs = std::move(outputs);
    return command(std::move(c), nodeName, block);
  }
  void readElement(int slot, int64_t index, int symbol, int block = 0) {
    plan::ReadElementT c;
    c.slot = slot;
    c.index = index;
    c.symbol = symbol;
    command(std::move(c), "", block);
  }
  void alias(int src, int dst, int block = 0) {
    plan::AliasCmdT c;
    c.src = src;
    c.dst = dst;
    command(std::move(c), "alias", block);
  }
  void copy(int src, int dst, int block = 0) {
    plan::CopyCmdT c;
    c.src = src;
    c.dst = dst;
    command(std::move(c), "copy", block);
  }
  void check(plan::Relation relation, int a, int b, const std::string &message, const std::string &nodeName) {
    plan::CheckT c;
    c.relation = relation;
    c.a = a;
    c.b = b;
    c.message = message;
    command(std::move(c), nodeName);
  }

#ifdef FLAME_TEST_DEVICE_KERNELS
  /// Turns the plan into one for a GPU of the fake driver, or for a real one where the environment has FLAME_TEST_GPU; an
  /// iteration becomes a block.
  PlanBuilder &onCuda() {
    root.device = plan::Device::Cuda;
    root.codes.clear();
    if (!root.kernels.empty() && std::getenv("FLAME_TEST_GPU")) {
      static const std::string text =
#include "DeviceKernels.ptx.inc"
          ;
      root.codes.push_back(code(plan::CodeFormat::Ptx, "compute_80", std::vector<char>(text.begin(), text.end())));
    } else if (!root.kernels.empty()) {
      root.codes.push_back(code(plan::CodeFormat::Cubin, "sm_90a", readFile(testFile(FLAME_TEST_DEVICE_KERNELS))));
      const std::string ptx = "// " + testFile(FLAME_TEST_DEVICE_KERNELS);
      root.codes.push_back(code(plan::CodeFormat::Ptx, "compute_80", std::vector<char>(ptx.begin(), ptx.end())));
    }
    for (auto &kernel : root.kernels) {
      kernel->code = -1;
      kernel->threads = 128;
    }
    for (auto &block : root.blocks)
      for (auto &c : block->commands)
        if (auto *launch = c->body.AsLaunch())
          launch->grain = -1;
    return *this;
  }
#endif

  static std::unique_ptr<plan::CodeT> code(plan::CodeFormat format, const std::string &target,
                                           const std::vector<char> &object) {
    auto code = std::make_unique<plan::CodeT>();
    code->format = format;
    code->target = target;
    code->size = object.size();
    code->data.resize(ZSTD_compressBound(object.size()));
    code->data.resize(ZSTD_compress(code->data.data(), code->data.size(), object.data(), object.size(), 3));
    code->checksum = plan::checksum(code->data.data(), code->data.size());
    return code;
  }

  // ---- the file
  /// The artifact's bytes, sealed.
  std::vector<uint8_t> finish() {
    flatbuffers::FlatBufferBuilder builder;
    builder.Finish(plan::Artifact::Pack(builder, &root), plan::ArtifactIdentifier());
    return seal(std::vector<uint8_t>(builder.GetBufferPointer(), builder.GetBufferPointer() + builder.GetSize()));
  }
  static std::vector<uint8_t> seal(std::vector<uint8_t> body) {
    const size_t bytes = body.size();
    body.resize(bytes + plan::kSealBytes);
    plan::makeSeal(body.data(), bytes, body.data() + bytes);
    return body;
  }

private:
  int kernelIndex(const std::string &symbol) {
    if (root.codes.empty())
      root.codes.push_back(testCode());
    for (size_t i = 0; i < root.kernels.size(); ++i)
      if (root.kernels[i]->symbol == symbol)
        return i;
    auto k = std::make_unique<plan::KernelT>();
    k->symbol = symbol;
    k->code = 0;
    k->description = "test kernel " + symbol;
    root.kernels.push_back(std::move(k));
    return root.kernels.size() - 1;
  }

  static std::vector<char> readFile(const std::string &path) {
    std::ifstream file(path, std::ios::binary);
    return std::vector<char>((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  }

  static std::unique_ptr<plan::CodeT> testCode() {
#if defined(__x86_64__)
    const char *target = "x86_64";
#else
    const char *target = "aarch64";
#endif
    auto made = code(plan::CodeFormat::ElfSharedObject, target, readFile(testFile(FLAME_TEST_KERNELS)));
#if defined(__x86_64__)
    made->features = {"sse2"};
#endif
    return made;
  }
};

} // namespace flame::test

#endif
