//===- Fold.h - partial reductions of what a product stores --------------------------------------------------------===//
//
// Beside its result a product may give what each run of `foldColumns` columns of a row comes to in a reduction. That is the first step of
// one over rows or over all elements, which then need not read the result. Partials lie [runs of columns, rows], so that those of
// neighbouring rows are neighbours. A partial has one writer and is added up in one order, whatever the tiles' timing. A fold sees elements as
// they are stored, so that it finds what a kernel that reads them would.
//
//===------------------------------------------------------------------------------------------------------------------===//
#pragma once
#include "epilogue/StoreGroup.h"

namespace flame {

/// none() is the number of no elements; step(number, stored) has one element more; join(a, b) is that of both.
template <typename None, typename Step, typename Join> struct Fold {
  float *partials;
  None none;
  Step step;
  Join join;
};
template <typename None, typename Step, typename Join>
FLAME_DEVICE Fold<None, Step, Join> fold(float *partials, None none, Step step, Join join) {
  return {partials, none, step, join};
}

template <typename... Parts> struct FoldList;
template <> struct FoldList<> {
  template <int at = 0, typename Function> FLAME_DEVICE void each(Function &) const {}
};
template <typename First, typename... Rest> struct FoldList<First, Rest...> {
  First first;
  FoldList<Rest...> rest;
  template <int at = 0, typename Function> FLAME_DEVICE void each(Function &function) const {
    function.template operator()<at>(first);
    rest.template each<at + 1>(function);
  }
};
FLAME_DEVICE FoldList<> joinFolds() { return {}; }
template <typename First, typename... Rest> FLAME_DEVICE FoldList<First, Rest...> joinFolds(First first, Rest... rest) {
  return {first, joinFolds(rest...)};
}

/// Folds of a matrix of so many rows. `carried`: a thread's numbers of one row, a number a fold.
template <typename Index, typename... Parts> struct Folds {
  static constexpr int count = sizeof...(Parts);
  Index rows;
  FoldList<Parts...> list;

  FLAME_DEVICE void begin(float (&carried)[count]) const {
    auto own = [&]<int at>(const auto &fold) { carried[at] = fold.none(); };
    list.each(own);
  }
  template <typename T> FLAME_DEVICE void step(float (&carried)[count], T stored) const {
    auto own = [&]<int at>(const auto &fold) { carried[at] = fold.step(carried[at], stored); };
    list.each(own);
  }
  /// Of a run with `column`, that `lanes` neighbouring threads of a warp have the elements of. All threads of the warp come here, those of rows
  /// that are not `inside`, too.
  template <int lanes> FLAME_DEVICE void end(const float (&carried)[count], Index row, Index column, bool inside) const {
    auto own = [&]<int at>(const auto &fold) {
      float all = carried[at];
#pragma unroll
      for (int distance = 1; distance < lanes; distance *= 2)
        all = fold.join(all, shuffleXor(all, distance));
      if (inside && threadId() % lanes == 0)
        fold.partials[column / foldColumns * rows + row] = all;
    };
    list.each(own);
  }
};
template <typename Index, typename... Parts> FLAME_DEVICE Folds<Index, Parts...> folds(Index rows, Parts... parts) {
  return {rows, joinFolds(parts...)};
}

/// An epilogue of one result, and folds of it.
template <typename Base, typename Of> struct Folding : Base {
  static constexpr int foldCount = Of::count;
  Of folds;
};
template <typename Base, typename Of> FLAME_DEVICE Folding<Base, Of> folding(Base base, Of folds) { return {base, folds}; }

} // namespace flame
