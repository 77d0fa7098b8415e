//===- String.td - functions of the runtime on strings, and tables that map labels -------------------------------------===//
//
// Attributes have the names and meanings of the ONNX operators.
//
//===------------------------------------------------------------------------------------------------------------------===//
#ifndef FLAME_STRING_TD
#define FLAME_STRING_TD

include "flame/IR/FlameBase.td"

class Flame_StringOp<string mnemonic> : Flame_PureOp<mnemonic, [HostOnly, NotDifferentiable]> {
  let results = (outs AnyFlameTensor:$result);
}

def StringConcatOp : Flame_StringOp<"string_concat"> {
  let summary = "x followed by y, with broadcasting";
  let arguments = (ins AnyFlameTensor:$x, AnyFlameTensor:$y);
}
def EqualStringOp : Flame_StringOp<"equal_string"> {
  let summary = "x == y, with broadcasting";
  let arguments = (ins AnyFlameTensor:$x, AnyFlameTensor:$y);
}
def WhereStringOp : Flame_StringOp<"where_string"> {
  let summary = "condition ? x : y, with broadcasting";
  let arguments = (ins AnyFlameTensor:$condition, AnyFlameTensor:$x, AnyFlameTensor:$y);
}
def StringSplitOp : Flame_StringOp<"string_split"> {
  let summary = "the parts of each string along a new last axis, padded with empty strings; and their number";
  let arguments = (ins AnyFlameTensor:$x, DefaultValuedAttr<StrAttr, "\"\"">:$delimiter, OptionalAttr<I64Attr>:$maxsplit);
  let results = (outs AnyFlameTensor:$parts, AnyFlameTensor:$count);
}
def StringNormalizerOp : Flame_StringOp<"string_normalizer"> {
  let summary = "strings without stop words, in lower or upper case";
  let arguments = (ins AnyFlameTensor:$x, DefaultValuedAttr<StrAttr, "\"NONE\"">:$case_change_action,
                   DefaultValuedAttr<BoolAttr, "false">:$is_case_sensitive, OptionalAttr<StrArrayAttr>:$stopwords);
}
def RegexFullMatchOp : Flame_StringOp<"regex_full_match"> {
  let summary = "whether the whole string matches a pattern of RE2's syntax";
  let arguments = (ins AnyFlameTensor:$x, StrAttr:$pattern);
}
def CastFromStringOp : Flame_StringOp<"cast_from_string"> {
  let summary = "the number that a string spells";
  let arguments = (ins AnyFlameTensor:$x, TypeAttr:$to, DefaultValuedAttr<BoolAttr, "true">:$saturate);
}
def CastToStringOp : Flame_StringOp<"cast_to_string"> {
  let summary = "a number's spelling";
  let arguments = (ins AnyFlameTensor:$x);
}
def TfIdfVectorizerOp : Flame_StringOp<"tfidf_vectorizer"> {
  let summary = "counts of n-grams of words (strings or integers)";
  let arguments = (ins AnyFlameTensor:$x, StrAttr:$mode, I64Attr:$min_gram_length, I64Attr:$max_gram_length,
                   I64Attr:$max_skip_count, DenseI64ArrayAttr:$ngram_counts, DenseI64ArrayAttr:$ngram_indexes,
                   OptionalAttr<DenseI64ArrayAttr>:$pool_int64s, OptionalAttr<StrArrayAttr>:$pool_strings,
                   OptionalAttr<DenseF64ArrayAttr>:$weights);
}
def LabelEncoderOp : Flame_StringOp<"label_encoder"> {
  let summary = "the value that a table gives for each element, or a default";
  let description = [{
    `keys_…` and `values_…` are one array each, of the kind of the operand's and the result's elements; `dtype` is the
    result's element type.
  }];
  let arguments = (ins AnyFlameTensor:$x, TypeAttr:$dtype,
                   OptionalAttr<DenseI64ArrayAttr>:$keys_int64s, OptionalAttr<DenseF64ArrayAttr>:$keys_floats,
                   OptionalAttr<StrArrayAttr>:$keys_strings,
                   OptionalAttr<DenseI64ArrayAttr>:$values_int64s, OptionalAttr<DenseF64ArrayAttr>:$values_floats,
                   OptionalAttr<StrArrayAttr>:$values_strings,
                   OptionalAttr<I64Attr>:$default_int64, OptionalAttr<F64Attr>:$default_float,
                   OptionalAttr<StrAttr>:$default_string);
}

#endif // FLAME_STRING_TD
