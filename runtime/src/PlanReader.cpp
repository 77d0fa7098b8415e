//===- PlanReader.cpp - FlatBuffer to Plan --------------------------------===//
//
// First the seal, then FlatBuffers' own verifier with limits, then a decoding that never trusts a value: enumerators
// are range-checked, absent vectors are empty. Indices are checked afterwards, by PlanValidator. FlatBuffers may share
// one vector among many tables; a budget of decoded items, proportional to the file, keeps a small file small.
//
//===----------------------------------------------------------------------===//

#include "Plan.h"
#include "host/HostContext.h"

#include "PlanFormat.h"
#include "plan_generated.h"

namespace flame::rt {

namespace {

namespace fb = flame::plan;

class Reader {
public:
  Reader(const uint8_t *data, size_t bytes) : root(*fb::GetArtifact(data)), budget(bytes * 8 + 65536) {}

  Plan read();

private:
  void spend(size_t items) {
    if (items > budget)
      fail(FLAME_BAD_ARTIFACT, "its tables expand to more than the file can hold");
    budget -= items;
  }

  std::string text(const flatbuffers::String *string) {
    if (!string)
      return {};
    spend(string->size() + 1);
    return string->str();
  }

  /// FlatBuffers' verifier does not look at the alignment of a vector's elements.
  template <typename T> static void checkAlignment(const flatbuffers::Vector<T> &vector, size_t alignment) {
    const void *data = vector.Data();
    if (vector.size() && reinterpret_cast<uintptr_t>(data) % alignment)
      fail(FLAME_BAD_ARTIFACT, "its data is not aligned to ", alignment, " bytes");
  }

  template <typename To, typename From> std::vector<To> numbers(const flatbuffers::Vector<From> *vector) {
    if (!vector)
      return {};
    checkAlignment(*vector, sizeof(From));
    spend(vector->size());
    return std::vector<To>(vector->begin(), vector->end());
  }

  std::vector<std::string> texts(const flatbuffers::Vector<flatbuffers::Offset<flatbuffers::String>> *vector) {
    std::vector<std::string> out;
    if (vector)
      for (const auto *string : *vector)
        out.push_back(text(string));
    return out;
  }

  template <typename To, typename Table, typename Decode>
  std::vector<To> tables(const flatbuffers::Vector<flatbuffers::Offset<Table>> *vector, Decode decode) {
    std::vector<To> out;
    if (vector) {
      spend(vector->size());
      out.reserve(vector->size());
      for (const Table *table : *vector)
        out.push_back(decode(*table));
    }
    return out;
  }

  template <typename To, typename From> To enumerator(From value, int count, const char *what) {
    if (static_cast<int>(value) >= count)
      fail(FLAME_BAD_ARTIFACT, "it has an unknown ", what, " (", static_cast<int>(value), ")");
    return static_cast<To>(value);
  }
  DType dtype(fb::DType value) { return enumerator<DType>(value, kDTypeCount, "element type"); }

  Dims dims(const flatbuffers::Vector<int64_t> *vector) {
    Dims out;
    if (vector)
      checkAlignment(*vector, sizeof(int64_t));
    if (vector)
      for (int64_t dim : *vector)
        out.push_back(dim);
    return out;
  }
  /// Bytes that are used where they are: constants and code, aligned by the schema.
  const uint8_t *bytes(const flatbuffers::Vector<uint8_t> *vector) {
    if (!vector)
      return nullptr;
    checkAlignment(*vector, kAlignment);
    return vector->data();
  }

  Command command(const fb::Command &table);
  PortInfo port(const fb::Port &table);
  SlotInfo slot(const fb::Slot &table);

  const fb::Artifact &root;
  size_t budget;
};

SlotInfo Reader::slot(const fb::Slot &table) {
  SlotInfo slot;
  slot.name = text(table.name());
  slot.kind = enumerator<flame_kind>(table.kind(), 3, "kind of value");
  slot.dtype = dtype(table.dtype());
  slot.storage = enumerator<Storage>(table.storage(), 7, "storage class");
  slot.ranked = table.dims() != nullptr;
  slot.dims = numbers<int32_t>(table.dims());
  if (slot.dims.size() > kMaxRank)
    fail(FLAME_UNSUPPORTED, "tensor '", slot.name, "' has more than ", kMaxRank, " dimensions");
  slot.source = table.source();
  slot.first = table.first();
  slot.last = table.last();
  slot.block = table.block();
  return slot;
}

PortInfo Reader::port(const fb::Port &table) {
  PortInfo port;
  port.name = text(table.name());
  port.type = text(table.type());
  port.slot = table.slot();
  port.ranked = table.dims() != nullptr;
  port.dims = texts(table.dims());
  return port;
}

Command Reader::command(const fb::Command &table) {
  Command out;
  out.nodes = numbers<int32_t>(table.nodes());
  if (!table.body() && table.body_type() != fb::CommandBody::NONE)
    fail(FLAME_BAD_ARTIFACT, "it has an empty command");
  switch (table.body_type()) {
  case fb::CommandBody::Alloc:
    out.body = AllocCommand{table.body_as_Alloc()->slot()};
    break;
  case fb::CommandBody::Free:
    out.body = FreeCommand{table.body_as_Free()->slot()};
    break;
  case fb::CommandBody::Launch: {
    const auto &c = *table.body_as_Launch();
    out.body = LaunchCommand{
        c.kernel(), numbers<int32_t>(c.buffers()), numbers<int32_t>(c.args()), c.extent(), c.grain(), c.scratch(),
        c.flops(), numbers<int32_t>(c.in_place()), tables<TensorMapInfo>(c.tensors(), [&](const fb::TensorMap &t) {
          return TensorMapInfo{t.buffer(),
                               dtype(t.dtype()),
                               t.offset(),
                               numbers<int32_t>(t.dims()),
                               numbers<int32_t>(t.strides()),
                               numbers<int32_t>(t.box()),
                               t.tf32(),
                               numbers<int32_t>(t.lower()),
                               numbers<int32_t>(t.upper()),
                               numbers<int32_t>(t.steps())};
        }),
        c.extent_wgmma()};
    break;
  }
  case fb::CommandBody::HostCall: {
    const auto &c = *table.body_as_HostCall();
    HostCallCommand call;
    call.function = text(c.function());
    call.entry = findHostFunction(call.function);
    if (!call.entry)
      fail(FLAME_UNSUPPORTED, "it needs the host function '", call.function, "', which this runtime (", flame_version(),
           ") does not have");
    call.inputs = numbers<int32_t>(c.inputs());
    call.outputs = numbers<int32_t>(c.outputs());
    call.attributes = tables<Attribute>(c.attributes(), [&](const fb::Attribute &a) {
      return Attribute{text(a.name()), numbers<int64_t>(a.ints()), numbers<double>(a.floats()), texts(a.strings())};
    });
    out.body = std::move(call);
    break;
  }
  case fb::CommandBody::BindDims: {
    const auto &c = *table.body_as_BindDims();
    out.body = BindDimsCommand{c.slot(), numbers<int32_t>(c.symbols())};
    break;
  }
  case fb::CommandBody::ReadElement: {
    const auto &c = *table.body_as_ReadElement();
    out.body = ReadElementCommand{c.slot(), c.index(), c.symbol()};
    break;
  }
  case fb::CommandBody::AliasCmd:
    out.body = AliasCommand{table.body_as_AliasCmd()->src(), table.body_as_AliasCmd()->dst()};
    break;
  case fb::CommandBody::CopyCmd:
    out.body = CopyCommand{table.body_as_CopyCmd()->src(), table.body_as_CopyCmd()->dst()};
    break;
  case fb::CommandBody::If: {
    const auto &c = *table.body_as_If();
    out.body = IfCommand{c.condition(), c.then_block(), c.else_block(), numbers<int32_t>(c.results())};
    break;
  }
  case fb::CommandBody::Loop: {
    const auto &c = *table.body_as_Loop();
    out.body = LoopCommand{c.trip(),
                           c.condition(),
                           c.body(),
                           numbers<int32_t>(c.carried()),
                           numbers<int32_t>(c.results()),
                           numbers<int32_t>(c.scans()),
                           c.count()};
    break;
  }
  case fb::CommandBody::Check: {
    const auto &c = *table.body_as_Check();
    out.body = CheckCommand{enumerator<Relation>(c.relation(), 3, "relation"), c.a(), c.b(), text(c.message())};
    break;
  }
  default:
    fail(FLAME_BAD_ARTIFACT, "it has an unknown command (", static_cast<int>(table.body_type()), ")");
  }
  return out;
}

Plan Reader::read() {
  Plan plan;
  plan.name = text(root.name());
  plan.producer = text(root.producer());
  plan.properties = tables<std::pair<std::string, std::string>>(
      root.properties(), [&](const fb::Property &p) { return std::make_pair(text(p.key()), text(p.value())); });
  plan.inputs = tables<PortInfo>(root.inputs(), [&](const fb::Port &p) { return port(p); });
  plan.outputs = tables<PortInfo>(root.outputs(), [&](const fb::Port &p) { return port(p); });
  plan.symbols = tables<std::string>(root.symbols(), [&](const fb::SymbolInfo &s) { return text(s.name()); });
  if (root.exprs()) {
    checkAlignment(*root.exprs(), alignof(fb::Expr));
    spend(root.exprs()->size());
    for (const fb::Expr *e : *root.exprs())
      plan.exprs.push_back({enumerator<ExprOp>(e->op(), 8, "operator of the shape program"), e->a(), e->b(), e->imm()});
  }
  plan.slots = tables<SlotInfo>(root.slots(), [&](const fb::Slot &s) { return slot(s); });
  plan.constants = tables<ConstantInfo>(root.constants(), [&](const fb::Constant &c) {
    return ConstantInfo{dtype(c.dtype()), dims(c.dims()), bytes(c.data()), c.data() ? c.data()->size() : 0,
                        texts(c.strings())};
  });
  plan.params = tables<ParamInfo>(root.params(), [&](const fb::Param &p) {
    return ParamInfo{text(p.name()), dtype(p.dtype()), dims(p.dims()), p.file(), p.offset(), p.length(), p.embedded()};
  });
  plan.files = tables<FileInfo>(root.files(), [&](const fb::WeightFile &f) {
    return FileInfo{text(f.path()), f.size()};
  });
  plan.kernels = tables<KernelInfo>(root.kernels(), [&](const fb::Kernel &k) {
    return KernelInfo{text(k.symbol()), text(k.description()),
                      k.code(),         k.threads(),
                      k.shared(),       k.unit(),
                      k.state(),        k.cooperative(),
                      k.shared_before_90() == -1 ? k.shared() : k.shared_before_90(),
                      k.waits(),
                      {k.wgmma() ? k.wgmma()->threads() : 0, k.wgmma() ? k.wgmma()->shared() : 0,
                       k.wgmma() ? k.wgmma()->cluster() : 1},
                      k.least_blocks()};
  });
  plan.codes = tables<CodeInfo>(root.codes(), [&](const fb::Code &c) {
    return CodeInfo{enumerator<CodeFormat>(c.format(), 3, "code format"),
                    text(c.target()),
                    texts(c.features()),
                    bytes(c.data()),
                    c.data() ? c.data()->size() : 0,
                    c.size(),
                    c.checksum(),
                    c.unit()};
  });
  plan.nodeNames = texts(root.node_names());
  plan.device = enumerator<DeviceKind>(root.device(), 2, "device");
  plan.blocks = tables<BlockInfo>(root.blocks(), [&](const fb::Block &b) {
    BlockInfo block;
    block.name = text(b.name());
    block.args = numbers<int32_t>(b.args());
    block.results = numbers<int32_t>(b.results());
    block.commands = tables<Command>(b.commands(), [&](const fb::Command &c) { return command(c); });
    return block;
  });
  return plan;
}

/// Where the version field of a plausible FlatBuffer is; checked without the verifier's help, so that an artifact of
/// another version is told apart from a damaged one.
void checkVersion(const fb::Artifact &root) {
  if (root.version() == fb::kPlanVersion)
    return;
  const bool newer = root.version() > fb::kPlanVersion;
  fail(FLAME_BAD_ARTIFACT, "it was written by ", newer ? "a newer" : "an older", " flame (plan version ",
       root.version(), ", this runtime reads version ", fb::kPlanVersion, "); ",
       newer ? "update the runtime, or recompile the model with this flamec" : "recompile the model");
}

} // namespace

Plan readPlan(const uint8_t *data, size_t bytes, const std::string &origin, bool sealed) try {
  if (bytes < 16 || !fb::ArtifactBufferHasIdentifier(data))
    fail(FLAME_BAD_ARTIFACT, "it is not a flame artifact (",
         bytes < 16 ? "too short" : "the identifier 'FLME' is missing at byte 4", ")");
  size_t body = bytes;
  if (sealed) {
    switch (fb::checkSeal(data, bytes)) {
    case fb::SealState::Valid:
      body -= fb::kSealBytes;
      break;
    case fb::SealState::Missing:
      fail(FLAME_BAD_ARTIFACT, "it does not end in a seal: the artifact is truncated, has trailing bytes, or was not written by flamec");
    case fb::SealState::Broken:
      fail(FLAME_BAD_ARTIFACT, "its checksum does not match: the file is damaged; copy or compile it again");
    }
  }
  if (body >= FLATBUFFERS_MAX_BUFFER_SIZE)
    fail(FLAME_BAD_ARTIFACT, "it has ", formatBytes(body),
         "; an artifact is limited to 2 GiB: keep the weights "
         "outside (do not embed them)");
  flatbuffers::Verifier verifier(data, body, /*max_depth=*/32, /*max_tables=*/20'000'000);
  if (!fb::VerifyArtifactBuffer(verifier))
    fail(FLAME_BAD_ARTIFACT, "its structure is damaged, or of another version of flame");
  checkVersion(*fb::GetArtifact(data));
  Plan plan = Reader(data, body).read();
  validatePlan(plan);
  return plan;
} catch (Error &error) {
  error.message = cat(origin, ": ", error.message);
  throw;
}

std::string Plan::nodesOf(const Command &command) const {
  std::string out;
  constexpr size_t shown = 3;
  const size_t count = command.nodes.size();
  for (size_t i = 0; i < count && i < shown; ++i)
    out += cat(i ? ", " : count > 1 ? "nodes " : "node ", '\'', nodeNames[command.nodes[i]], '\'');
  if (count > shown)
    out += cat(" and ", count - shown, " more");
  return out;
}

std::string Plan::slotName(int32_t slot) const {
  return slots[slot].name.empty() ? cat("slot ", slot) : cat('\'', slots[slot].name, '\'');
}

} // namespace flame::rt
