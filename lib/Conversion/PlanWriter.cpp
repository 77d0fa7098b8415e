//===- PlanWriter.cpp - plan to FlatBuffers ---------------------------------------------------------------------------===//
#include "flame/Conversion/PlanModel.h"
#include "PlanFormat.h"
#include "plan_generated.h"
#include <zstd.h>

using namespace flame;
using namespace flame::model;
namespace fb = flatbuffers;
namespace fp = flame::plan;

namespace {

/// Room for the weights at once: growing step by step would hold them twice.
size_t initialSize(const Plan &plan) {
  size_t bytes = 1 << 16;
  for (const Code &code : plan.codes)
    bytes += code.data.size();
  for (const Constant &constant : plan.constants)
    bytes += constant.data.size() + 128;
  return bytes;
}

struct Writer {
  explicit Writer(size_t bytes) : b(bytes) {}
  fb::FlatBufferBuilder b;

  fb::Offset<fb::Vector<fb::Offset<fb::String>>> strings(const std::vector<std::string> &list) {
    return b.CreateVectorOfStrings(list);
  }
  template <typename Out, typename In, typename Fn>
  fb::Offset<fb::Vector<fb::Offset<Out>>> tables(const std::vector<In> &list, Fn make) {
    std::vector<fb::Offset<Out>> offsets;
    for (const In &item : list)
      offsets.push_back(make(item));
    return b.CreateVector(offsets);
  }
  fb::Offset<fb::Vector<uint8_t>> bytes(const void *data, size_t size) {
    b.ForceVectorAlignment(size, 1, 64);
    return b.CreateVector(static_cast<const uint8_t *>(data), size);
  }

  fb::Offset<fp::Command> command(const Command &command) {
    fp::CommandBody kind = fp::CommandBody::NONE;
    fb::Offset<void> body = std::visit([&](const auto &c) { return this->body(c, kind); }, command.body);
    return fp::CreateCommand(b, kind, body, b.CreateVector(command.nodes));
  }

  fb::Offset<void> body(const Alloc &c, fp::CommandBody &kind) {
    kind = fp::CommandBody::Alloc;
    return fp::CreateAlloc(b, c.slot).Union();
  }
  fb::Offset<void> body(const Free &c, fp::CommandBody &kind) {
    kind = fp::CommandBody::Free;
    return fp::CreateFree(b, c.slot).Union();
  }
  fb::Offset<void> body(const Launch &c, fp::CommandBody &kind) {
    kind = fp::CommandBody::Launch;
    auto buffers = b.CreateVector(c.buffers), args = b.CreateVector(c.args);
    fb::Offset<fb::Vector<fb::Offset<fp::TensorMap>>> tensors;
    if (!c.tensors.empty())
      tensors = tables<fp::TensorMap>(c.tensors, [&](const TensorMap &t) {
        auto dims = b.CreateVector(t.dims), strides = b.CreateVector(t.strides), box = b.CreateVector(t.box);
        auto optional = [&](const std::vector<int32_t> &list) {
          return list.empty() ? fb::Offset<fb::Vector<int32_t>>() : b.CreateVector(list);
        };
        auto lower = optional(t.lower), upper = optional(t.upper), steps = optional(t.steps);
        return fp::CreateTensorMap(b, t.buffer, static_cast<fp::DType>(t.dtype), t.offset, dims, strides, box, t.tf32,
                                   lower, upper, steps);
      });
    auto inPlace = c.inPlace.empty() ? 0 : b.CreateVector(c.inPlace);
    return fp::CreateLaunch(b, c.kernel, buffers, args, c.extent, c.grain, c.scratch, c.flops, inPlace, tensors,
                            c.extentWgmma)
        .Union();
  }
  fb::Offset<void> body(const HostCall &c, fp::CommandBody &kind) {
    kind = fp::CommandBody::HostCall;
    auto function = b.CreateString(c.function);
    auto inputs = b.CreateVector(c.inputs), outputs = b.CreateVector(c.outputs);
    auto attributes = tables<fp::Attribute>(c.attributes, [&](const Attribute &a) {
      auto name = b.CreateString(a.name);
      auto ints = b.CreateVector(a.ints);
      auto floats = b.CreateVector(a.floats);
      return fp::CreateAttribute(b, name, ints, floats, strings(a.strings));
    });
    return fp::CreateHostCall(b, function, inputs, outputs, attributes).Union();
  }
  fb::Offset<void> body(const BindDims &c, fp::CommandBody &kind) {
    kind = fp::CommandBody::BindDims;
    return fp::CreateBindDims(b, c.slot, b.CreateVector(c.symbols)).Union();
  }
  fb::Offset<void> body(const ReadElement &c, fp::CommandBody &kind) {
    kind = fp::CommandBody::ReadElement;
    return fp::CreateReadElement(b, c.slot, c.index, c.symbol).Union();
  }
  fb::Offset<void> body(const Alias &c, fp::CommandBody &kind) {
    kind = fp::CommandBody::AliasCmd;
    return fp::CreateAliasCmd(b, c.src, c.dst).Union();
  }
  fb::Offset<void> body(const Copy &c, fp::CommandBody &kind) {
    kind = fp::CommandBody::CopyCmd;
    return fp::CreateCopyCmd(b, c.src, c.dst).Union();
  }
  fb::Offset<void> body(const If &c, fp::CommandBody &kind) {
    kind = fp::CommandBody::If;
    return fp::CreateIf(b, c.condition, c.thenBlock, c.elseBlock, b.CreateVector(c.results)).Union();
  }
  fb::Offset<void> body(const Loop &c, fp::CommandBody &kind) {
    kind = fp::CommandBody::Loop;
    auto carried = b.CreateVector(c.carried), results = b.CreateVector(c.results), scans = b.CreateVector(c.scans);
    return fp::CreateLoop(b, c.trip, c.condition, c.body, carried, results, scans, c.count).Union();
  }
  fb::Offset<void> body(const Check &c, fp::CommandBody &kind) {
    kind = fp::CommandBody::Check;
    return fp::CreateCheck(b, static_cast<fp::Relation>(c.relation), c.a, c.b, b.CreateString(c.message)).Union();
  }
};

} // namespace

std::vector<uint8_t> model::writePlan(const Plan &plan) {
  Writer w(initialSize(plan));
  fb::FlatBufferBuilder &b = w.b;
  auto ports = [&](const std::vector<Port> &list) {
    return w.tables<fp::Port>(list, [&](const Port &p) {
      auto name = b.CreateString(p.name);
      auto dims = w.strings(p.dims);
      return fp::CreatePort(b, name, p.slot, dims, b.CreateString(p.type));
    });
  };
  auto name = b.CreateString(plan.name), producer = b.CreateString(plan.producer);
  auto properties = w.tables<fp::Property>(plan.properties, [&](const auto &p) {
    auto key = b.CreateString(p.first);
    return fp::CreateProperty(b, key, b.CreateString(p.second));
  });
  auto inputs = ports(plan.inputs), outputs = ports(plan.outputs);
  auto symbols = w.tables<fp::SymbolInfo>(plan.symbols,
                                          [&](const std::string &s) { return fp::CreateSymbolInfo(b, b.CreateString(s)); });
  std::vector<fp::Expr> exprList;
  for (const Expr &e : plan.exprs)
    exprList.emplace_back(static_cast<fp::ExprOp>(e.op), e.a, e.b, e.imm);
  auto exprs = b.CreateVectorOfStructs(exprList);
  auto slots = w.tables<fp::Slot>(plan.slots, [&](const Slot &s) {
    auto slotName = b.CreateString(s.name);
    fb::Offset<fb::Vector<int32_t>> dims = s.hasDims ? b.CreateVector(s.dims) : fb::Offset<fb::Vector<int32_t>>();
    return fp::CreateSlot(b, slotName, static_cast<fp::ValueKind>(s.kind), static_cast<fp::DType>(s.dtype), dims,
                          static_cast<fp::Storage>(s.storage), s.source, s.first, s.last, s.block);
  });
  auto constants = w.tables<fp::Constant>(plan.constants, [&](const Constant &c) {
    auto dims = b.CreateVector(c.dims);
    auto data = w.bytes(c.data.data(), c.data.size());
    return fp::CreateConstant(b, static_cast<fp::DType>(c.dtype), dims, data, w.strings(c.strings));
  });
  auto params = w.tables<fp::Param>(plan.params, [&](const Param &p) {
    auto paramName = b.CreateString(p.name);
    auto dims = b.CreateVector(p.dims);
    return fp::CreateParam(b, paramName, static_cast<fp::DType>(p.dtype), dims, p.file, p.offset, p.length, p.embedded);
  });
  auto files = w.tables<fp::WeightFile>(
      plan.files, [&](const WeightFile &f) { return fp::CreateWeightFile(b, b.CreateString(f.path), f.size); });
  auto blocks = w.tables<fp::Block>(plan.blocks, [&](const Block &block) {
    auto blockName = b.CreateString(block.name);
    auto args = b.CreateVector(block.args), results = b.CreateVector(block.results);
    auto commands = w.tables<fp::Command>(block.commands, [&](const Command &c) { return w.command(c); });
    return fp::CreateBlock(b, blockName, args, results, commands);
  });
  auto kernels = w.tables<fp::Kernel>(plan.kernels, [&](const Kernel &k) {
    auto symbol = b.CreateString(k.symbol), description = b.CreateString(k.description);
    auto wgmma = k.wgmmaThreads ? fp::CreateWgmma(b, k.wgmmaThreads, k.wgmmaShared, k.wgmmaCluster) : 0;
    return fp::CreateKernel(b, symbol, plan.device == Device::Cpu ? 0 : -1, description, k.threads, k.shared, k.unit,
                            k.state, k.cooperative, k.sharedBefore90, k.waits, wgmma, k.leastBlocks);
  });
  auto codes = w.tables<fp::Code>(plan.codes, [&](const Code &code) {
    std::vector<char> packed(ZSTD_compressBound(code.data.size()));
    packed.resize(ZSTD_compress(packed.data(), packed.size(), code.data.data(), code.data.size(), 3));
    auto target = b.CreateString(code.target);
    auto features = w.strings(code.features);
    auto data = w.bytes(packed.data(), packed.size());
    return fp::CreateCode(b, static_cast<fp::CodeFormat>(code.format), target, features, data, code.data.size(),
                          fp::checksum(packed.data(), packed.size()), code.unit);
  });
  auto nodeNames = w.strings(plan.nodeNames);
  fp::ArtifactBuilder artifact(b);
  artifact.add_version(fp::kPlanVersion);
  artifact.add_name(name);
  artifact.add_producer(producer);
  artifact.add_properties(properties);
  artifact.add_inputs(inputs);
  artifact.add_outputs(outputs);
  artifact.add_symbols(symbols);
  artifact.add_exprs(exprs);
  artifact.add_slots(slots);
  artifact.add_constants(constants);
  artifact.add_params(params);
  artifact.add_files(files);
  artifact.add_blocks(blocks);
  artifact.add_kernels(kernels);
  artifact.add_codes(codes);
  artifact.add_node_names(nodeNames);
  artifact.add_device(static_cast<fp::Device>(plan.device));
  fp::FinishArtifactBuffer(b, artifact.Finish());
  std::vector<uint8_t> bytes(b.GetBufferPointer(), b.GetBufferPointer() + b.GetSize());
  size_t size = bytes.size();
  bytes.resize(size + fp::kSealBytes);
  fp::makeSeal(bytes.data(), size, bytes.data() + size);
  return bytes;
}
