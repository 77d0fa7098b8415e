//===- Store.h - from sums to results ----------------------------------------------------------------------------===//
//
// The region's epilogue is a function (row, column, sum) → stored element; `place` gives the position of (row, column)
// in the result, whose columns lie next to each other if `contiguous`. Sums come in runs of `width` columns of one row,
// in shared memory, aligned to 16 bytes. Of two products at once there are two sums, the functions take both.
//
//===------------------------------------------------------------------------------------------------------------------===//
#pragma once
#include "tile/Types.h"

namespace flame {

/// A function of the rows of one matrix, given one that counts through all matrices of a batch.
template <typename Index, typename Function> struct FromRow {
  Index first;
  Function function;
  template <typename... Others> FLAME_DEVICE auto operator()(Index row, Others... others) const {
    return function(first + row, others...);
  }
};
template <typename Index, typename Function>
FLAME_DEVICE FromRow<Index, Function> fromRow(Index first, Function function) {
  return {first, function};
}

/// Partial reductions that an epilogue gives beside its result (epilogue/Fold.h), and a thread's numbers of one row for them.
template <typename Epilogue> constexpr int foldsOf = 0;
template <typename Epilogue>
  requires requires { Epilogue::foldCount; }
constexpr int foldsOf<Epilogue> = Epilogue::foldCount;
template <int folds> struct Carried {
  float of[folds];
};
template <> struct Carried<0> {};

/// One result.
template <bool contiguous, typename T, typename Body, typename Place> struct Store {
  static constexpr int width = sizeof(T) == 8 ? 2 : sizeof(T) == 4 ? 4 : 8;
  T *result;
  Body body;
  Place place;

  template <typename Index, typename Sum, typename... More>
  FLAME_DEVICE void run(Index row, Index column, int valid, const Sum *sums, const More *...more) const {
    visit([](T) {}, row, column, valid, sums, more...);
  }
  /// The same; `see` is told each element as it is stored.
  template <typename See, typename Index, typename Sum, typename... More>
  FLAME_DEVICE void visit(See see, Index row, Index column, int valid, const Sum *sums, const More *...more) const {
    if constexpr (contiguous) {
      T *to = result + place(row, column);
      if (valid >= width && (unsigned long long)to % (width * sizeof(T)) == 0) {
        constexpr int part = least(16 / (int)sizeof(Sum), width);
        Pack<T, width> values;
#pragma unroll
        for (int i = 0; i < width; i += part) {
          auto compute = [&](const auto &...loaded) {
#pragma unroll
            for (int j = 0; j < part; ++j) {
              values.values[i + j] = body(row, column + i + j, loaded.values[j]...);
              see(values.values[i + j]);
            }
          };
          compute(*(const Pack<Sum, part> *)(sums + i), *(const Pack<More, part> *)(more + i)...);
        }
        *(Pack<T, width> *)to = values;
        return;
      }
    }
#pragma unroll 1
    for (int i = 0; i < least(valid, width); ++i)
      see(one(row, column + i, sums[i], more[i]...));
  }
  template <typename Index, typename... Sums> FLAME_DEVICE T one(Index row, Index column, Sums... sums) const {
    return result[place(row, column)] = body(row, column, sums...);
  }
};
template <bool contiguous, typename T, typename Body, typename Place>
FLAME_DEVICE Store<contiguous, T, Body, Place> store(T *result, Body body, Place place) {
  return {result, body, place};
}

/// Several results: the body stores them itself.
template <typename Body> struct Scatter {
  static constexpr int width = 4;
  Body body;

  template <typename Index, typename... Sums>
  FLAME_DEVICE void run(Index row, Index column, int valid, const Sums *...sums) const {
#pragma unroll 1
    for (int i = 0; i < least(valid, width); ++i)
      body(row, column + i, sums[i]...);
  }
  template <typename Index, typename... Sums> FLAME_DEVICE void one(Index row, Index column, Sums... sums) const {
    body(row, column, sums...);
  }
};
template <typename Body> FLAME_DEVICE Scatter<Body> scatter(Body body) { return {body}; }

} // namespace flame
