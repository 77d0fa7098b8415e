//===- JoinTypes.cpp - the most precise type that covers two others ---------------------------------------------------===//
#include "flame/IR/JoinTypes.h"

using namespace mlir;

Type flame::joinTypes(Type a, Type b) {
  if (a == b)
    return a;
  if (isa<NoneType>(a))
    return b;
  if (isa<NoneType>(b))
    return a;
  auto x = dyn_cast<TensorType>(a), y = dyn_cast<TensorType>(b);
  if (x && y) {
    if (x.getElementType() != y.getElementType())
      return {};
    if (!x.hasRank() || !y.hasRank() || x.getRank() != y.getRank())
      return UnrankedTensorType::get(x.getElementType());
    SmallVector<int64_t> shape(x.getShape());
    for (auto [size, other] : llvm::zip(shape, y.getShape()))
      if (size != other)
        size = ShapedType::kDynamic;
    return RankedTensorType::get(shape, x.getElementType());
  }
  if (auto s = dyn_cast<SequenceType>(a), t = dyn_cast<SequenceType>(b); s && t)
    if (Type element = joinTypes(s.getElementType(), t.getElementType()))
      return SequenceType::get(a.getContext(), element);
  if (auto s = dyn_cast<OptionalType>(a), t = dyn_cast<OptionalType>(b); s && t)
    if (Type element = joinTypes(s.getElementType(), t.getElementType()))
      return OptionalType::get(a.getContext(), element);
  return {};
}
