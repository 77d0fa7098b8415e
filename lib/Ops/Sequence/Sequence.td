//===- Sequence.td - sequences of tensors and optional values ---------------------------------------------------------===//
//
// All are functions of the runtime. A sequence's type holds what its tensors have in common: `!flame.seq<tensor<2x?xf32>>`,
// `!flame.seq<tensor<*xf32>>` where even ranks differ, `!flame.seq<none>` where there is no tensor yet.
//
//===------------------------------------------------------------------------------------------------------------------===//
#ifndef FLAME_SEQUENCE_TD
#define FLAME_SEQUENCE_TD

include "flame/IR/FlameBase.td"

class Flame_SequenceOp<string mnemonic> : Flame_PureOp<mnemonic, [HostOnly, NotDifferentiable]> {
  let results = (outs AnyFlameValue:$result);
}

def SequenceEmptyOp : Flame_SequenceOp<"sequence_empty"> {
  let summary = "a sequence without elements, of element type `dtype`";
  let arguments = (ins TypeAttr:$dtype);
}
def SequenceConstructOp : Flame_SequenceOp<"sequence_construct"> {
  let summary = "the operands as a sequence";
  let arguments = (ins Variadic<AnyFlameTensor>:$elements);
}
def SequenceAtOp : Flame_SequenceOp<"sequence_at"> {
  let summary = "an element of a sequence";
  let description = [{
    A negative position counts from the end. `type` states the tensor type where the sequence's type does not tell the rank.
  }];
  let arguments = (ins AnyFlameValue:$sequence, AnyFlameTensor:$position, OptionalAttr<TypeAttr>:$type);
}
def SequenceEraseOp : Flame_SequenceOp<"sequence_erase"> {
  let summary = "a sequence without one element, the last one if there is no position";
  let arguments = (ins AnyFlameValue:$sequence, Optional<AnyFlameTensor>:$position);
}
def SequenceInsertOp : Flame_SequenceOp<"sequence_insert"> {
  let summary = "a sequence with one element more, at the end if there is no position";
  let arguments = (ins AnyFlameValue:$sequence, AnyFlameTensor:$element, Optional<AnyFlameTensor>:$position);
}
def SequenceLengthOp : Flame_SequenceOp<"sequence_length"> {
  let summary = "the number of elements: an i64 of rank 0";
  let arguments = (ins AnyFlameValue:$sequence);
}
def SplitToSequenceOp : Flame_SequenceOp<"split_to_sequence"> {
  let summary = "a tensor cut along an axis";
  let description = [{
    `split` is the size of all pieces (rank 0; the last may be smaller) or of each (rank 1). Without it each piece has size
    1, and `keepdims` false drops that axis.
  }];
  let arguments = (ins AnyFlameTensor:$x, Optional<AnyFlameTensor>:$split, I64Attr:$axis, BoolAttr:$keepdims);
}
def ConcatFromSequenceOp : Flame_SequenceOp<"concat_from_sequence"> {
  let summary = "the tensors of a sequence concatenated along an axis, or stacked along a new one";
  let arguments = (ins AnyFlameValue:$sequence, I64Attr:$axis, BoolAttr:$new_axis, OptionalAttr<TypeAttr>:$type);
}

def OptionalConstructOp : Flame_SequenceOp<"optional_construct"> {
  let summary = "an optional that holds the operand, or nothing";
  let description = [{ Without an operand, `type` is the type that is absent and `dtype` its element type. }];
  let arguments = (ins Optional<AnyFlameValue>:$value, OptionalAttr<TypeAttr>:$type, OptionalAttr<TypeAttr>:$dtype);
}
def OptionalGetElementOp : Flame_SequenceOp<"optional_get_element"> {
  let summary = "what an optional holds; an error at run time if it holds nothing";
  let arguments = (ins AnyFlameValue:$optional, OptionalAttr<TypeAttr>:$type);
}
def OptionalHasElementOp : Flame_SequenceOp<"optional_has_element"> {
  let summary = "whether an optional holds something: a bool of rank 0";
  let arguments = (ins AnyFlameValue:$optional);
}

#endif // FLAME_SEQUENCE_TD
