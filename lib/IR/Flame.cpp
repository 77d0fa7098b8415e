//===- Flame.cpp - dialect, types and the check of inferred results ---------------------------------------------------===//
#include "flame/IR/Flame.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

#include "flame/IR/FlameDialect.cpp.inc"
#include "flame/IR/FlameInterfaces.cpp.inc"
#define GET_TYPEDEF_CLASSES
#include "flame/IR/FlameTypes.cpp.inc"
#define GET_ATTRDEF_CLASSES
#include "flame/IR/FlameAttributes.cpp.inc"

using namespace mlir;
using namespace flame;

void FlameDialect::registerTypes() {
  addTypes<
#define GET_TYPEDEF_LIST
#include "flame/IR/FlameTypes.cpp.inc"
      >();
}

void FlameDialect::registerAttributes() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "flame/IR/FlameAttributes.cpp.inc"
      >();
}

void FlameDialect::initialize() {
  registerTypes();
  registerAttributes();
#define FLAME_FAMILY(Name) register##Name##Ops(this);
#include "flame/Ops/Families.inc"
#undef FLAME_FAMILY
}

LogicalResult flame::trait::verifyInferred(Operation *op) {
  auto infer = dyn_cast<InferInterface>(op);
  if (!infer)
    return success();
  DimContext dims;
  ShapeContext context(dims, /*shallow=*/true);
  SmallVector<ResultInfo, 2> results;
  if (failed(infer.inferResults(context, results)))
    return failure();
  if (results.size() != op->getNumResults())
    return op->emitOpError("has ") << op->getNumResults() << " results, inference gives " << results.size();
  for (auto [index, info] : llvm::enumerate(results)) {
    Type actual = op->getResult(index).getType(), expected = ShapeContext::typeOf(info);
    auto mismatch = [&] {
      return op->emitOpError("result #") << index << " has type " << actual << ", inferred is " << expected;
    };
    auto tensor = dyn_cast<RankedTensorType>(actual);
    auto inferred = dyn_cast<RankedTensorType>(expected);
    if (!tensor || !inferred) {
      if (actual.getTypeID() != expected.getTypeID())
        return mismatch();
      continue;
    }
    // The IR may know more, or less, than the operands' types alone tell, but never something else.
    if (tensor.getElementType() != inferred.getElementType() ||
        failed(verifyCompatibleShape(tensor.getShape(), inferred.getShape())))
      return mismatch();
  }
  return success();
}

namespace {
struct DType {
  int code;
  const char *name;
  Type (*make)(MLIRContext *);
};
template <typename T> Type makeFloat(MLIRContext *context) { return T::get(context); }
template <unsigned Width, IntegerType::SignednessSemantics Sign> Type makeInt(MLIRContext *context) {
  return IntegerType::get(context, Width, Sign);
}
constexpr auto Signless = IntegerType::Signless, Unsigned = IntegerType::Unsigned;
const DType dtypes[] = {
    {1, "float32", makeFloat<Float32Type>},
    {2, "uint8", makeInt<8, Unsigned>},
    {3, "int8", makeInt<8, Signless>},
    {4, "uint16", makeInt<16, Unsigned>},
    {5, "int16", makeInt<16, Signless>},
    {6, "int32", makeInt<32, Signless>},
    {7, "int64", makeInt<64, Signless>},
    {8, "string", [](MLIRContext *context) -> Type { return StringType::get(context); }},
    {9, "bool", makeInt<1, Signless>},
    {10, "float16", makeFloat<Float16Type>},
    {11, "float64", makeFloat<Float64Type>},
    {12, "uint32", makeInt<32, Unsigned>},
    {13, "uint64", makeInt<64, Unsigned>},
    {14, "complex64", [](MLIRContext *context) -> Type { return ComplexType::get(Float32Type::get(context)); }},
    {15, "complex128", [](MLIRContext *context) -> Type { return ComplexType::get(Float64Type::get(context)); }},
    {16, "bfloat16", makeFloat<BFloat16Type>},
    {17, "float8e4m3fn", makeFloat<Float8E4M3FNType>},
    {18, "float8e4m3fnuz", makeFloat<Float8E4M3FNUZType>},
    {19, "float8e5m2", makeFloat<Float8E5M2Type>},
    {20, "float8e5m2fnuz", makeFloat<Float8E5M2FNUZType>},
    {21, "uint4", makeInt<4, Unsigned>},
    {22, "int4", makeInt<4, Signless>},
    {23, "float4e2m1", makeFloat<Float4E2M1FNType>},
    {24, "float8e8m0", makeFloat<Float8E8M0FNUType>},
    {25, "uint2", makeInt<2, Unsigned>},
    {26, "int2", makeInt<2, Signless>},
};
} // namespace

int flame::dtypeCode(Type elementType) {
  for (const DType &dtype : dtypes)
    if (dtype.make(elementType.getContext()) == elementType)
      return dtype.code;
  return 0;
}

Type flame::dtypeFromCode(MLIRContext *context, int code) {
  for (const DType &dtype : dtypes)
    if (dtype.code == code)
      return dtype.make(context);
  return {};
}

std::string flame::dtypeName(Type elementType) {
  for (const DType &dtype : dtypes)
    if (dtype.make(elementType.getContext()) == elementType)
      return dtype.name;
  std::string text;
  llvm::raw_string_ostream(text) << elementType;
  return text;
}

unsigned flame::dtypeBytes(Type elementType) {
  if (auto complex = dyn_cast<ComplexType>(elementType))
    return 2 * dtypeBytes(complex.getElementType());
  return elementType.isIntOrFloat() ? (elementType.getIntOrFloatBitWidth() + 7) / 8 : 0;
}
