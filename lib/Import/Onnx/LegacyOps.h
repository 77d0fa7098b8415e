//===- LegacyOps.h - operators as they were before opset 7 ------------------------------------------------------------===//
#ifndef FLAME_LIB_IMPORT_ONNX_LEGACYOPS_H
#define FLAME_LIB_IMPORT_ONNX_LEGACYOPS_H

namespace flame {
class OnnxRegistry;
namespace onnx {
void registerLegacyOps(OnnxRegistry &registry);
} // namespace onnx
} // namespace flame

#endif // FLAME_LIB_IMPORT_ONNX_LEGACYOPS_H
