//===- InferenceRules.h - checks and symbolic values that inference methods share -------------------------------------===//
#ifndef FLAME_OPS_INFERENCERULES_H
#define FLAME_OPS_INFERENCERULES_H

#include "flame/IR/Flame.h"

namespace flame {

/// Most elements of an integer tensor whose values inference follows.
constexpr int64_t maxFollowedValues = 64;

/// "[2, n, 3]"
std::string dimsString(llvm::ArrayRef<DimExpr> dims);
/// Checks that operand `i` is a ranked tensor (sequences and optionals are not).
llvm::LogicalResult requireRanked(mlir::Operation *op, unsigned i, llvm::StringRef name);
/// As requireRanked, for elements that kernels can load and store: no strings (`flame.take_elements` moves those).
llvm::LogicalResult requireMovable(mlir::Operation *op, unsigned i, llvm::StringRef name);
/// Checks that operand `i` is an i64 tensor of rank 1 with `count` elements (`count` < 0: any static number); gives that
/// number.
llvm::FailureOr<int64_t> requireVector(mlir::Operation *op, ShapeContext &context, unsigned i, llvm::StringRef name,
                                       int64_t count = -1);
/// Checks that operand `i` is an integer tensor (not bool).
llvm::LogicalResult requireIntegers(mlir::Operation *op, unsigned i, llvm::StringRef name);
/// True if the elements of such a tensor are worth following: integer or bool, rank 0 or 1, few and of known number.
bool isFollowed(ShapeContext &context, mlir::Value value);
bool isFollowed(const ResultInfo &info);
/// The elements of a followed tensor; numbers not known yet become symbols that are read from the data.
llvm::SmallVector<DimExpr> followedValues(ShapeContext &context, mlir::Value value);
/// The elements of a constant integer tensor, row-major, if there are at most `limit`.
std::optional<llvm::SmallVector<int64_t>> integersOf(mlir::Attribute value, int64_t limit = maxFollowedValues);
/// The elements of the constant that defines `value`.
std::optional<llvm::SmallVector<int64_t>> constantIntegers(mlir::Value value);

} // namespace flame

#endif // FLAME_OPS_INFERENCERULES_H
