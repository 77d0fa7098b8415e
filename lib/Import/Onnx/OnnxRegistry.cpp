//===- OnnxRegistry.cpp - which ONNX operators can be imported, by what ----------------------------------------------===//
#include "flame/Import/OnnxNode.h"
#include "LegacyOps.h"

using namespace llvm;
using namespace flame;

namespace flame {
#define FLAME_FAMILY(Name) void register##Name##Onnx(OnnxRegistry &registry);
#include "flame/Ops/OnnxFamilies.inc"
#undef FLAME_FAMILY
} // namespace flame

/// "ai.onnx" and "" are the same domain.
static std::string keyOf(StringRef domain, StringRef opType) {
  return ((domain == "ai.onnx" ? StringRef() : domain) + ":" + opType).str();
}

void OnnxRegistry::add(StringRef opType, Import import, int64_t since, StringRef domain, StringRef dtypes) {
  index[keyOf(domain, opType)].push_back(table.size());
  table.push_back({(domain == "ai.onnx" ? StringRef() : domain).str(), opType.str(), since, std::move(import), dtypes.str()});
}

const OnnxRegistry::Entry *OnnxRegistry::find(StringRef domain, StringRef opType, int64_t opset) const {
  auto found = index.find(keyOf(domain, opType));
  if (found == index.end())
    return nullptr;
  const Entry *best = nullptr;
  for (unsigned position : found->second)
    if (const Entry &entry = table[position]; entry.sinceOpset <= opset && (!best || entry.sinceOpset >= best->sinceOpset))
      best = &entry;
  return best;
}

std::string OnnxRegistry::nearest(StringRef domain, StringRef opType) const {
  const Entry *best = nullptr;
  unsigned limit = std::max<unsigned>(2, opType.size() / 3), distance = limit + 1;
  for (const Entry &entry : table) {
    // The same name in another domain is the best hint of all; a name that contains the other comes next.
    unsigned edits = StringRef(entry.opType).edit_distance_insensitive(opType, true, distance);
    if (opType.contains(entry.opType) && entry.opType.size() >= 4)
      edits = std::min(edits, limit);
    if (edits < distance || (best && edits == distance && entry.opType.size() > best->opType.size())) {
      best = &entry;
      distance = edits;
    }
  }
  if (!best)
    return "";
  return best->domain.empty() ? best->opType : best->domain + "." + best->opType;
}

const OnnxRegistry &OnnxRegistry::get() {
  static const OnnxRegistry registry = [] {
    OnnxRegistry all;
    onnx::registerLegacyOps(all);
#define FLAME_FAMILY(Name) register##Name##Onnx(all);
#include "flame/Ops/OnnxFamilies.inc"
#undef FLAME_FAMILY
    return all;
  }();
  return registry;
}
