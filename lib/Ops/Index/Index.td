//===- Index.td - movement of elements that index tensors decide ------------------------------------------------------===//
//
// Index tensors have any integer type. Negative indices count from the end. An index that is still out of range is
// clamped into it: kernels never read or write outside a buffer. Scatters skip such an update instead.
//
//===------------------------------------------------------------------------------------------------------------------===//
#ifndef FLAME_INDEX_TD
#define FLAME_INDEX_TD

include "flame/IR/FlameBase.td"

class Flame_IndexOp<string mnemonic, list<Trait> traits = []> : Flame_PureOp<mnemonic, traits> {
  let results = (outs AnyFlameTensor:$result);
}

def GatherOp : Flame_IndexOp<"gather"> {
  let summary = "numpy.take: slices of x along an axis";
  let description = [{ The result has the dims of `indices` in place of dimension `axis` of `x`. }];
  let arguments = (ins AnyFlameTensor:$x, AnyFlameTensor:$indices, I64Attr:$axis);
}

def GatherElementsOp : Flame_IndexOp<"gather_elements"> {
  let summary = "numpy.take_along_axis: element i takes x[…, indices[i], …]";
  let description = [{ `indices` has the rank of `x` and, except along `axis`, sizes no greater. }];
  let arguments = (ins AnyFlameTensor:$x, AnyFlameTensor:$indices, I64Attr:$axis);
}

def GatherNDOp : Flame_IndexOp<"gather_nd"> {
  let summary = "slices of x at index tuples, the last dimension of `indices`";
  let arguments = (ins AnyFlameTensor:$x, AnyFlameTensor:$indices, DefaultValuedAttr<I64Attr, "0">:$batch_dims);
}

def ScatterElementsOp : Flame_IndexOp<"scatter_elements"> {
  let summary = "x with updates[i] at the position where element i of `indices` points along an axis";
  let description = [{
    `reduction` is none (the last update wins), add, mul, max or min.
  }];
  let arguments = (ins AnyFlameTensor:$x, AnyFlameTensor:$indices, AnyFlameTensor:$updates, I64Attr:$axis,
                   DefaultValuedAttr<StrAttr, "\"none\"">:$reduction);
}

def ScatterNDOp : Flame_IndexOp<"scatter_nd"> {
  let summary = "x with slices of updates at index tuples, the last dimension of `indices`";
  let description = [{ `reduction` as in scatter_elements. }];
  let arguments = (ins AnyFlameTensor:$x, AnyFlameTensor:$indices, AnyFlameTensor:$updates,
                   DefaultValuedAttr<StrAttr, "\"none\"">:$reduction);
}

def ReverseSequenceOp : Flame_IndexOp<"reverse_sequence"> {
  let summary = "x with the first lengths[b] steps of every sequence reversed";
  let arguments = (ins AnyFlameTensor:$x, AnyFlameTensor:$lengths, I64Attr:$batch_axis, I64Attr:$time_axis);
}

class Flame_HostIndexOp<string mnemonic> : Flame_PureOp<mnemonic, [HostOnly, NotDifferentiable]>;

def CheckIndicesOp : Flame_HostIndexOp<"check_indices"> {
  let summary = "the indices, if each points into its dimension; otherwise the run ends with an error";
  let description = [{
    `extents` is an i64 vector: element i of the indices, in row-major order, must lie in [-e, e) with
    e = extents[i % size(extents)]. Gathers clamp indices that are read at run time; this op makes a wrong one known.
  }];
  let arguments = (ins AnyFlameTensor:$indices, AnyFlameTensor:$extents);
  let results = (outs AnyFlameTensor:$result);
}
def CheckEndsOp : Flame_HostIndexOp<"check_ends"> {
  let summary = "the ends of groups, if they rise within the rows; otherwise the run ends with an error";
  let description = [{
    `ends` is an i32 or i64 vector, `rows` an i64 vector of one element: 0 <= ends[0] <= ends[1] <= … <= rows. For `grouped_matmul`, which
    takes any ends.
  }];
  let arguments = (ins AnyFlameTensor:$ends, AnyFlameTensor:$rows);
  let results = (outs AnyFlameTensor:$result);
}
def NonZeroOp : Flame_HostIndexOp<"nonzero"> {
  let summary = "indices of the elements that are not zero: i64 [rank, n], row-major order";
  let arguments = (ins AnyFlameTensor:$x);
  let results = (outs AnyFlameTensor:$result);
}
def CompressOp : Flame_HostIndexOp<"compress"> {
  let summary = "the slices of x along an axis (or elements of the flattened x) where the condition holds";
  let arguments = (ins AnyFlameTensor:$x, AnyFlameTensor:$condition, OptionalAttr<I64Attr>:$axis);
  let results = (outs AnyFlameTensor:$result);
}
def UniqueOp : Flame_HostIndexOp<"unique"> {
  let summary = "the distinct elements (or slices along an axis), where each first occurs, what each element became, counts";
  let description = [{
    Results: values; i64 first indices, i64 inverse, i64 counts. `sorted` puts the values in ascending (lexicographic)
    order, otherwise they stay in order of first occurrence.
  }];
  let arguments = (ins AnyFlameTensor:$x, OptionalAttr<I64Attr>:$axis, DefaultValuedAttr<I64Attr, "1">:$sorted);
  let results = (outs AnyFlameTensor:$values, AnyFlameTensor:$indices, AnyFlameTensor:$inverse, AnyFlameTensor:$counts);
}
def TopKOp : Flame_HostIndexOp<"topk"> {
  let summary = "the k greatest (or smallest) elements along an axis, and their i64 indices";
  let description = [{
    `k` is an i64 tensor of one element. Of equal elements the one with the lower index comes first. The results are always
    ordered by value; ONNX's sorted = 0 leaves the order open. Target CUDA has kernels for it, others a host function.
  }];
  let arguments = (ins AnyFlameTensor:$x, AnyFlameTensor:$k, I64Attr:$axis, DefaultValuedAttr<I64Attr, "1">:$largest);
  let results = (outs AnyFlameTensor:$values, AnyFlameTensor:$indices);
}
def NonMaxSuppressionOp : Flame_HostIndexOp<"non_max_suppression"> {
  let summary = "boxes that survive: i64 [n, 3] of batch, class and box index";
  let description = [{
    boxes [batches, n, 4], scores [batches, classes, n]; max_output (i64), iou_threshold and score_threshold (f32) are
    tensors of one element. `center_point_box` 1 says that boxes are x, y of the centre, width, height; 0: y1, x1, y2, x2.
  }];
  let arguments = (ins AnyFlameTensor:$boxes, AnyFlameTensor:$scores, AnyFlameTensor:$max_output, AnyFlameTensor:$iou_threshold,
                   AnyFlameTensor:$score_threshold, DefaultValuedAttr<I64Attr, "0">:$center_point_box);
  let results = (outs AnyFlameTensor:$result);
}
def TakeElementsOp : Flame_HostIndexOp<"take_elements"> {
  let summary = "the elements at flat positions of all xs in a row";
  let description = [{
    For element types that kernels can't hold (strings): whatever movement an ONNX operator makes is first made with the positions.
  }];
  let arguments = (ins AnyFlameTensor:$positions, Variadic<AnyFlameTensor>:$xs);
  let results = (outs AnyFlameTensor:$result);
}

#endif // FLAME_INDEX_TD
