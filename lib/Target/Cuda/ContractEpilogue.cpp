//===- ContractEpilogue.cpp - see ContractEpilogue.h --------------------------------------------------------------===//
#include "ContractEpilogue.h"
#include "KernelOps.h"
#include "flame/Ops/Shape.h"
#include "llvm/ADT/SetVector.h"
#include "llvm/Support/SaveAndRestore.h"

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

/// (row, column, sums) → stored element of the only result; of several results a body that stores them. With `source` the body has one more
/// argument, the element of an input where the result's lies, and *source is that input; null where there is none.
Value ContractEpilogue::buildBody(ElementBuilder &e, IndexOf indexOf, StringRef name, Value *source) {
  Type index = e.b.getIndexType(), sum = computeType(getElementTypeOrSelf(product.getType()));
  SmallVector<Type> types{index, index};
  types.append(products.size(), sum);
  SmallVector<StringRef> names{"row", "column", "sum", "other"};
  names.resize(types.size());
  auto typeOf = [&](unsigned result) { return getElementTypeOrSelf(kernel.region.getResult(result).getType()); };
  if (source) {
    types.push_back(storageType(typeOf(results.front())));
    names.push_back("element");
  }
  return FunctionOp::create(e.b, kernel.loc, name, types, names, [&](ValueRange args) {
    Value stored;
    e.scope([&] {
      Values at = indexOf(e, args[0], args[1]);
      ScalarBuilder s = e.scalars(sum);
      for (auto [value, given] : llvm::zip(products, args.drop_front(2)))
        e.setScalar(value, unit == 1 ? given : s.mul(given, s.number(sum, unit)));
      if (results.size() == 1) {
        const unsigned only = results.front();
        Value yielded = kernel.region.getYielded()[only];
        Values to = resultIndex(only, at);
        llvm::SaveAndRestore held(kernel.heldElement);
        if (source)
          kernel.heldElement = [&](Value value, ValueRange index) {
            SmallVector<DimExpr> dims(kernel.shapes.dims(yielded));
            const bool isSource = kernel.isMaterialized(value) && (!*source || value == *source) && kernel.shapes.dims(value) == ArrayRef(dims) &&
                                  storageType(getElementTypeOrSelf(value.getType())) == types.back() &&
                                  llvm::all_of(llvm::enumerate(dims), [&](auto dim) {
                                    return dim.value().isConstant(1) || index[dim.index()] == to[dim.index()];
                                  });
            if (!isSource)
              return Value();
            *source = value;
            return args.back();
          };
        stored = e.scalars(typeOf(only)).toStorage(e.element(yielded, to), typeOf(only));
      } else {
        for (unsigned result : results) {
          Values to = resultIndex(result, at);
          kernel.storeResult(e, result, to, e.element(kernel.region.getYielded()[result], to));
        }
      }
      for (Value value : products)
        e.clearScalar(value);
    });
    return stored;
  });
}

std::optional<ContractEpilogue::SourcedBody> ContractEpilogue::buildSourced(ElementBuilder &e, IndexOf indexOf) {
  Value source, function = buildBody(e, indexOf, "bodyOfSource", &source);
  if (source)
    return SourcedBody{function, source};
  kernel.forgetSplits(function.getDefiningOp()->getRegion(0));
  function.getDefiningOp()->erase();
  return std::nullopt;
}

std::string ContractEpilogue::build(ElementBuilder &e, IndexOf indexOf, bool contiguous,
                                    SmallVectorImpl<Value> &operands,
                                    llvm::function_ref<std::string(const std::string &)> wrap, StringRef suffix) {
  Type index = e.b.getIndexType();
  auto name = [&](Value value) {
    operands.push_back(value);
    return "$" + std::to_string(operands.size() - 1);
  };
  auto function = [&](Value value) { return wrap ? wrap(name(value)) : name(value); };
  Value body = buildBody(e, indexOf, ("body" + suffix).str(), nullptr);
  if (results.size() != 1)
    return "flame::scatter(" + function(body) + ")";
  const unsigned only = results.front();
  Value yielded = kernel.region.getYielded()[only];
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
