//===- StringMovement.h - ONNX operators that move elements, on strings -----------------------------------------------===//
#ifndef FLAME_IMPORT_STRINGMOVEMENT_H
#define FLAME_IMPORT_STRINGMOVEMENT_H

#include "flame/Import/OnnxNode.h"

namespace flame {

/// An importer of an operator that only moves elements, made to work on strings, which no kernel can hold: the operator
/// moves positions instead, and the runtime takes the strings from there.
OnnxRegistry::Import movingStrings(OnnxRegistry::Import import);

} // namespace flame

#endif // FLAME_IMPORT_STRINGMOVEMENT_H
