//===- ContractEpilogue.cpp - see ContractEpilogue.h --------------------------------------------------------------===//
#include "ContractEpilogue.h"
#include "KernelOps.h"
#include "flame/Ops/Shape.h"
#include "llvm/ADT/SetVector.h"

using namespace mlir;
using namespace flame;
using namespace flame::cuda;
using Values = ElementBuilder::Values;

bool ContractEpilogue::isSupported(bool anyOrder) {
  llvm::SmallPtrSet<Value, 16> dependent(products.begin(), products.end()), moved;
  SmallVector<DimExpr> dims(kernel.shapes.dims(product));
  // What leads to results that are stored elsewhere alone is none of this epilogue's.
  llvm::SetVector<Operation *> own;
  auto add = [&](Value value) {
    if (Operation *op = value.getDefiningOp())
      own.insert(op);
  };
  for (unsigned result : results)
    add(kernel.region.getYielded()[result]);
  for (size_t i = 0; i < own.size(); ++i)
    llvm::for_each(SmallVector<Value>(own[i]->getOperands()), add);
  for (Operation &op : kernel.region.getBlock()->without_terminator()) {
    if (!own.contains(&op))
      continue;
    if (llvm::any_of(op.getOperands(), [&](Value v) { return moved.contains(v); }))
      return false;
    if (llvm::none_of(op.getOperands(), [&](Value v) { return dependent.contains(v); }))
      continue;
    if (auto transpose = dyn_cast<TransposeOp>(op)) {
      ArrayRef<int64_t> perm = transpose.getPerm();
      if (!anyOrder && (perm.empty() || perm.back() != int64_t(perm.size()) - 1))
        return false;
      moved.insert(transpose.getResult());
      continue;
    }
    if (!isa<PointwiseInterface>(op) || op.getNumResults() != 1 ||
        kernel.shapes.dims(op.getResult(0)) != ArrayRef(dims))
      return false;
    dependent.insert(op.getResult(0));
  }
  return llvm::all_of(results, [&](unsigned result) {
    Value v = kernel.region.getYielded()[result];
    return dependent.contains(v) || moved.contains(v);
  });
}

bool ContractEpilogue::storesColumn(int64_t dim) {
  return llvm::all_of(kernel.region.getYielded(), [&](Value yielded) {
    auto transpose = yielded.getDefiningOp<TransposeOp>();
    return (transpose && yielded != product ? transpose.getPerm().back() : kernel.shapes.rank(product) - 1) == dim;
  });
}

Values ContractEpilogue::resultIndex(unsigned result, ValueRange index) {
  Value yielded = kernel.region.getYielded()[result];
  auto transpose = yielded.getDefiningOp<TransposeOp>();
  if (!transpose || yielded == product)
    return Values(index);
  Values at;
  for (int64_t source : transpose.getPerm())
    at.push_back(index[source]);
  return at;
}

std::string ContractEpilogue::build(ElementBuilder &e, IndexOf indexOf, bool contiguous,
                                    SmallVectorImpl<Value> &operands,
                                    llvm::function_ref<std::string(const std::string &)> wrap, StringRef suffix) {
  Type index = e.b.getIndexType(), sum = computeType(getElementTypeOrSelf(product.getType()));
  SmallVector<Type> types{index, index};
  types.append(products.size(), sum);
  const StringRef names[] = {"row", "column", "sum", "other"};
  const ArrayRef<StringRef> argumentNames = ArrayRef(names).take_front(types.size());
  auto setSums = [&](ValueRange args) {
    ScalarBuilder s = e.scalars(sum);
    for (auto [value, given] : llvm::zip(products, args.drop_front(2)))
      e.setScalar(value, unit == 1 ? given : s.mul(given, s.number(sum, unit)));
  };
  auto clearSums = [&] {
    for (Value value : products)
      e.clearScalar(value);
  };
  auto name = [&](Value value) {
    operands.push_back(value);
    return "$" + std::to_string(operands.size() - 1);
  };
  auto function = [&](Value value) { return wrap ? wrap(name(value)) : name(value); };
  if (results.size() != 1) {
    Value body = FunctionOp::create(
        e.b, kernel.loc, ("body" + suffix).str(), types, argumentNames, [&](ValueRange args) {
          e.scope([&] {
            Values at = indexOf(e, args[0], args[1]);
            setSums(args);
            for (unsigned result : results) {
              Values to = resultIndex(result, at);
              kernel.storeResult(e, result, to, e.element(kernel.region.getYielded()[result], to));
            }
            clearSums();
          });
          return Value();
        });
    return "flame::scatter(" + function(body) + ")";
  }
  const unsigned only = results.front();
  Type elementType = getElementTypeOrSelf(kernel.region.getResult(only).getType());
  Value yielded = kernel.region.getYielded()[only];
  Value body =
      FunctionOp::create(e.b, kernel.loc, ("body" + suffix).str(), types, argumentNames, [&](ValueRange args) {
        Value stored;
        e.scope([&] {
          Values at = indexOf(e, args[0], args[1]);
          setSums(args);
          stored = e.scalars(elementType).toStorage(e.element(yielded, resultIndex(only, at)), elementType);
          clearSums();
        });
        return stored;
      });
  Value place = FunctionOp::create(e.b, kernel.loc, ("place" + suffix).str(), {index, index}, {"row", "column"}, [&](ValueRange args) {
    Value position;
    e.scope([&] {
      Values at = indexOf(e, args[0], args[1]);
      position = e.linearize(resultIndex(only, at), SmallVector<DimExpr>(kernel.shapes.dims(yielded)));
    });
    return position;
  });
  std::string result = name(kernel.resultBuffer(only)), first = function(body), second = function(place);
  return std::string("flame::store<") + (contiguous ? "true" : "false") + ">(" + result + ", " + first + ", " + second +
         ")";
}

std::string flame::cuda::storageName(Type elementType) {
  Type type = storageType(elementType);
  if (type.isF32())
    return "float";
  if (type.isF64())
    return "double";
  switch (type.getIntOrFloatBitWidth()) {
  case 8:
    return "unsigned char";
  case 16:
    return "unsigned short";
  case 32:
    return "unsigned int";
  default:
    return "unsigned long long";
  }
}
